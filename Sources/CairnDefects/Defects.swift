/// The deliberate bugs that are switched on: a value that travels in options, so that it concerns whom it was given to.
///
/// Only debug builds have any. In a release build the set has no storage, ``contains(_:)`` is the constant false, and what it
/// would have guarded is not compiled in. (That takes a type that is public: only those are inlined into other modules. The options
/// that carry it show it to this package alone.)
public struct Defects: Hashable, Sendable {
    #if CAIRN_DEFECTS
        private var members: Set<Defect> = []

        public init() {}

        public init(_ defects: Defect...) { self.init(defects) }

        public init(_ defects: [Defect]) { members = Set(defects) }

        /// Those that are switched on.
        public var list: [Defect] { Defect.allCases.filter(members.contains) }

        @inline(__always)
        public func contains(_ defect: Defect) -> Bool { !members.isEmpty && members.contains(defect) }

        /// Whether this build can have any.
        public static var areCompiledIn: Bool { true }
    #else
        @inlinable
        public init() {}

        @inlinable
        public init(_ defects: Defect...) {}

        @inlinable
        public init(_ defects: [Defect]) {}

        @inlinable
        public var list: [Defect] { [] }

        @inlinable @inline(__always)
        public func contains(_ defect: Defect) -> Bool { false }

        @inlinable
        public static var areCompiledIn: Bool { false }
    #endif
}
