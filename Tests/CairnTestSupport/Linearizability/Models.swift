/// A document with one value, which may be absent.
public enum RegisterModel: SequentialModel {
    public enum Input: Hashable, Sendable {
        case read
        case write(Int)
        /// Writes if there is nothing yet.
        case insert(Int)
        case compareAndSet(Int, Int)
        case delete
    }

    public enum Output: Hashable, Sendable {
        case value(Int?)
        case done
        /// Whether the condition held, and so the operation did what it says.
        case happened(Bool)
    }

    public static var initial: Int? { nil }

    public static func step(_ state: Int?, _ input: Input, _ output: Output?) -> Int?? {
        func conditional(_ holds: Bool, _ new: Int?) -> Int?? {
            guard output == nil || output == .happened(holds) else { return nil }
            return .some(holds ? new : state)
        }
        switch input {
        case .read: return output == nil || output == .value(state) ? .some(state) : nil
        case .write(let new): return output == nil || output == .done ? .some(new) : nil
        case .insert(let new): return conditional(state == nil, new)
        case .compareAndSet(let old, let new): return conditional(state == old, new)
        case .delete: return conditional(state != nil, nil)
        }
    }
}

/// A number that is added to.
public enum CounterModel: SequentialModel {
    public enum Input: Hashable, Sendable {
        case read
        case add(Int)
        /// Adds and answers with the sum.
        case addAndRead(Int)
    }

    public enum Output: Hashable, Sendable {
        case value(Int)
        case done
    }

    public static var initial: Int { 0 }

    public static func step(_ state: Int, _ input: Input, _ output: Output?) -> Int? {
        switch input {
        case .read: output == nil || output == .value(state) ? state : nil
        case .add(let number): output == nil || output == .done ? state + number : nil
        case .addAndRead(let number): output == nil || output == .value(state + number) ? state + number : nil
        }
    }
}

/// A list that is appended to; with members that are never alike it is a set that also tells in which order they came.
public enum ListModel: SequentialModel {
    public enum Input: Hashable, Sendable {
        case read
        case append(Int)
    }

    public enum Output: Hashable, Sendable {
        case members([Int])
        case done
    }

    public static var initial: [Int] { [] }

    public static func step(_ state: [Int], _ input: Input, _ output: Output?) -> [Int]? {
        switch input {
        case .read: output == nil || output == .members(state) ? state : nil
        case .append(let member): output == nil || output == .done ? state + [member] : nil
        }
    }
}
