import CairnFiles
import Testing

/// What someone who waits for a long piece of work reads.
@Suite struct ProgressDisplayTests {
    @Test func aLogGetsALineForATenthAndNotMoreThanOneInTwoSeconds() {
        var display = ProgressDisplay(total: 1000 << 20, isTerminal: false)
        var lines: [String] = []
        for step in 0...1000 as ClosedRange<UInt64> {
            // A hundredth of a second for each mebibyte: ten seconds in all.
            let text = display.update(done: step << 20, about: "f", seconds: Double(step) / 100)
            if let text { lines.append(text) }
        }
        #expect(
            lines == [
                "20 %, 200 MiB of 1000 MiB, 2 s\n", "40 %, 400 MiB of 1000 MiB, 4 s\n",
                "60 %, 600 MiB of 1000 MiB, 6 s\n", "80 %, 800 MiB of 1000 MiB, 8 s\n",
                "100 %, 1000 MiB of 1000 MiB, 10 s\n",
            ])
        #expect(display.cleared == "")
    }

    @Test func shortWorkSaysNothingInALog() {
        var display = ProgressDisplay(total: 10, isTerminal: false)
        for done in 0...10 as ClosedRange<UInt64> {
            #expect(display.update(done: done, about: "f", seconds: Double(done) / 10) == nil)
        }
    }

    @Test func aTerminalGetsABarThatIsDrawnOverItself() {
        var display = ProgressDisplay(total: 4 << 30, isTerminal: true)
        #expect(display.update(done: 0, about: "a", seconds: 0.05) == nil)
        #expect(
            display.update(done: 1 << 30, about: "data/raft/segment-0000000001", seconds: 3)
                == "\r\u{1B}[K[######..................]  25 %  1.0 GiB of 4.0 GiB  data/raft/segment-0000000001")
        #expect(display.update(done: 5 << 30, about: "a", seconds: 4)?.contains("] 100 %  4.0 GiB of 4.0 GiB") == true)
        #expect(display.cleared == "\r\u{1B}[K")
    }

    @Test func sizesReadAsPeopleWriteThem() {
        let sizes: [(UInt64, String)] = [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (200 << 10, "200 KiB"),
            (3 << 30 | 1 << 29, "3.5 GiB"), (UInt64.max, "16777215 TiB"),
        ]
        for (bytes, text) in sizes { #expect(InspectionText.size(bytes) == text) }
    }
}
