import CairnTestSupport
import Testing

/// The judge is judged first: histories whose verdict is known.
@Suite struct LinearizabilityTests {
    private typealias Register = RecordedOperation<RegisterModel.Input, RegisterModel.Output>
    private typealias Counter = RecordedOperation<CounterModel.Input, CounterModel.Output>
    private typealias List = RecordedOperation<ListModel.Input, ListModel.Output>

    private func violation<Model: SequentialModel>(
        _ model: Model.Type, _ operations: [RecordedOperation<Model.Input, Model.Output>]
    ) -> String? {
        guard case .violation(let explanation) = Linearizability<Model>.check(operations) else { return nil }
        return explanation
    }

    // MARK: Good histories

    @Test func operationsThatFollowEachOtherAreInOrder() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .read, .value(nil), began: 1, ended: 2),
                    Register(client: 1, .insert(5), .happened(true), began: 3, ended: 4),
                    Register(client: 2, .insert(6), .happened(false), began: 5, ended: 6),
                    Register(client: 2, .compareAndSet(5, 7), .happened(true), began: 7, ended: 8),
                    Register(client: 1, .compareAndSet(5, 8), .happened(false), began: 9, ended: 10),
                    Register(client: 1, .delete, .happened(true), began: 11, ended: 12),
                    Register(client: 2, .read, .value(nil), began: 13, ended: 14),
                ]) == nil)
    }

    @Test func aReadBesideAWriteMaySeeEither() {
        for seen in [1, 2] {
            #expect(
                violation(
                    RegisterModel.self,
                    [
                        Register(client: 1, .write(1), .done, began: 1, ended: 2),
                        Register(client: 1, .write(2), .done, began: 3, ended: 6),
                        Register(client: 2, .read, .value(seen), began: 4, ended: 5),
                    ]) == nil)
        }
    }

    @Test func aWriteWithoutAnAnswerMayTakeEffectLate() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(1), .done, began: 1, ended: 2),
                    Register(client: 1, .write(2), nil, began: 3, ended: nil),
                    Register(client: 2, .read, .value(1), began: 4, ended: 5),
                    Register(client: 2, .read, .value(1), began: 6, ended: 7),
                    Register(client: 2, .read, .value(2), began: 8, ended: 9),
                ]) == nil)
    }

    @Test func aWriteWithoutAnAnswerMayNeverTakeEffect() {
        #expect(
            violation(
                CounterModel.self,
                [
                    Counter(client: 1, .add(1), nil, began: 1, ended: nil),
                    Counter(client: 2, .addAndRead(10), .value(10), began: 2, ended: 3),
                    Counter(client: 2, .read, .value(10), began: 4, ended: 5),
                ]) == nil)
    }

    @Test func conditionsThatMeetAreWonByOne() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(0), .done, began: 1, ended: 2),
                    Register(client: 2, .compareAndSet(0, 2), .happened(true), began: 3, ended: 8),
                    Register(client: 3, .compareAndSet(0, 3), .happened(false), began: 4, ended: 7),
                    Register(client: 4, .compareAndSet(2, 4), .happened(true), began: 5, ended: 6),
                ]) == nil)
    }

    @Test func appendsThatOverlapMayGoInEitherOrder() {
        #expect(
            violation(
                ListModel.self,
                [
                    List(client: 1, .append(1), .done, began: 1, ended: 4),
                    List(client: 2, .append(2), .done, began: 2, ended: 3),
                    List(client: 3, .read, .members([2, 1]), began: 5, ended: 6),
                ]) == nil)
    }

    // MARK: Bad histories

    @Test func aStaleReadIsFound() throws {
        let text = try #require(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(1), .done, began: 1, ended: 2),
                    Register(client: 1, .write(2), .done, began: 3, ended: 4),
                    Register(client: 2, .read, .value(1), began: 5, ended: 6),
                ]))
        #expect(text.hasPrefix("no order explains this answer: [5, 6] client 2: read → value(Optional(1))"))
    }

    @Test func twoReadsThatDisagreeAboutTheOrderAreFound() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(1), .done, began: 1, ended: 2),
                    Register(client: 1, .write(2), .done, began: 3, ended: 12),
                    Register(client: 2, .read, .value(2), began: 4, ended: 5),
                    Register(client: 3, .read, .value(1), began: 6, ended: 7),
                ]) != nil)
    }

    @Test func aLostUpdateIsFound() {
        #expect(
            violation(
                CounterModel.self,
                [
                    Counter(client: 1, .addAndRead(1), .value(1), began: 1, ended: 3),
                    Counter(client: 2, .addAndRead(1), .value(1), began: 2, ended: 4),
                ]) != nil)
    }

    @Test func aReadOfAValueNeverWrittenIsFound() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(1), .done, began: 1, ended: 2),
                    Register(client: 2, .read, .value(9), began: 3, ended: 4),
                ]) != nil)
    }

    @Test func aWriteThatWasLostAfterItsAnswerIsFound() {
        #expect(
            violation(
                ListModel.self,
                [
                    List(client: 1, .append(1), .done, began: 1, ended: 2),
                    List(client: 1, .append(2), .done, began: 3, ended: 4),
                    List(client: 2, .read, .members([1]), began: 5, ended: 6),
                ]) != nil)
    }

    @Test func aRetryThatTookEffectTwiceIsFound() {
        #expect(
            violation(
                ListModel.self,
                [
                    List(client: 1, .append(1), .done, began: 1, ended: 2),
                    List(client: 2, .read, .members([1, 1]), began: 3, ended: 4),
                ]) != nil)
    }

    @Test func anUnknownOutcomeThatComesAndGoesIsFound() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .write(1), .done, began: 1, ended: 2),
                    Register(client: 2, .write(2), nil, began: 3, ended: nil),
                    Register(client: 3, .read, .value(2), began: 4, ended: 5),
                    Register(client: 3, .read, .value(1), began: 6, ended: 7),
                ]) != nil)
    }

    @Test func aValueSeenBeforeItsWriteBeganIsFound() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .read, .value(1), began: 1, ended: 2),
                    Register(client: 2, .write(1), nil, began: 3, ended: nil),
                ]) != nil)
    }

    @Test func twoWinnersOfOneConditionAreFound() {
        #expect(
            violation(
                RegisterModel.self,
                [
                    Register(client: 1, .insert(1), .happened(true), began: 1, ended: 4),
                    Register(client: 2, .insert(2), .happened(true), began: 2, ended: 3),
                ]) != nil)
    }

    // MARK: The search

    @Test func theExplanationStopsAtTheFirstAnswerThatFits() throws {
        var operations = [
            Register(client: 1, .write(1), .done, began: 1, ended: 2),
            Register(client: 2, .read, .value(nil), began: 3, ended: 4),
        ]
        for number in 0..<20 {
            operations.append(
                Register(client: 1, .write(number), .done, began: 5 + 2 * number, ended: 6 + 2 * number))
        }
        let text = try #require(violation(RegisterModel.self, operations))
        #expect(
            text == """
                no order explains this answer: [3, 4] client 2: read → value(nil)
                what went before it has one, for instance:
                  [1, 2] client 1: write(1) → done, then Optional(1)
                """)
    }

    /// Without the memory of what was met, twelve additions without an answer would be tried in 12! orders.
    @Test func manyOpenOperationsAreNoTrouble() {
        var operations = (0..<12).map { Counter(client: $0, .add(1), nil, began: $0, ended: nil) }
        operations.append(Counter(client: 99, .read, .value(13), began: 100, ended: 101))
        #expect(violation(CounterModel.self, operations) != nil)
        operations[12] = Counter(client: 99, .read, .value(9), began: 100, ended: 101)
        #expect(violation(CounterModel.self, operations) == nil)
    }

    @Test func aSearchThatTakesTooLongSaysSo() {
        var operations = (0..<30).map { List(client: $0, .append($0), nil, began: $0, ended: nil) }
        operations.append(List(client: 99, .read, .members([77]), began: 100, ended: 101))
        guard case .undecided = Linearizability<ListModel>.check(operations, stepsMax: 10_000) else {
            Issue.record("10,000 steps cannot be enough")
            return
        }
    }

    /// Real histories of a correct thing are always accepted, whatever the interleaving.
    @Test(arguments: 1...50 as ClosedRange<UInt64>) func whatARealRegisterDidIsAccepted(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var history = History<Int, RegisterModel>()
        var state: [Int: Int?] = [:]
        var open: [(ticket: History<Int, RegisterModel>.Ticket, key: Int, input: RegisterModel.Input)] = []
        for step in 0..<200 {
            if open.count < 6, random.oneIn(2) {
                let key = Int(random.next() % 3)
                let input: RegisterModel.Input =
                    switch random.next() % 5 {
                    case 0: .write(step)
                    case 1: .insert(step)
                    case 2: .compareAndSet((state[key] ?? nil) ?? 0, step)
                    case 3: .delete
                    default: .read
                    }
                open.append((history.begin(input, on: key, client: open.count), key, input))
            } else if !open.isEmpty {
                let (ticket, key, input) = open.remove(at: Int(random.next() % UInt64(open.count)))
                let old = state[key] ?? nil
                // It takes effect here and now; the answer may get lost.
                let outputs: [RegisterModel.Output] = [.value(old), .done, .happened(true), .happened(false)]
                let output = outputs.first { RegisterModel.step(old, input, $0) != nil }!
                state[key] = RegisterModel.step(old, input, output)!
                if !random.oneIn(8) { history.end(ticket, output) }
            }
        }
        let result = history.check()
        #expect(result.violation == nil)
        #expect(result.undecided == 0)
    }
}
