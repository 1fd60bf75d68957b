/// The deliberate bugs that are switched on: a value that travels in options, so that it concerns whom it was given to.
///
/// Only debug builds have any. In a release build the set has no storage, ``contains(_:)`` is the constant false, and what it
/// would have guarded is not compiled in.
package struct Defects: Hashable, Sendable {
    #if CAIRN_DEFECTS
        private var members: Set<Defect> = []

        package init() {}

        package init(_ defects: Defect...) { members = Set(defects) }

        @inline(__always)
        package func contains(_ defect: Defect) -> Bool { !members.isEmpty && members.contains(defect) }

        /// Whether this build can have any.
        package static var areCompiledIn: Bool { true }
    #else
        @inlinable
        package init() {}

        @inlinable
        package init(_ defects: Defect...) {}

        @inlinable @inline(__always)
        package func contains(_ defect: Defect) -> Bool { false }

        @inlinable
        package static var areCompiledIn: Bool { false }
    #endif
}
