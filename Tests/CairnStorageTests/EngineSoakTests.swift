import CairnTestSupport
import Testing

@testable import CairnStorage

/// The engine against a sorted map, through everything that a disk does to it. See ``EngineSoak``.
@Suite struct EngineSoakTests {
    @Test func B29_theEngineAnswersLikeASortedMapThroughCrashesAndFailingDisks() {
        do throws(SeededRuns.Failure) {
            try SeededRuns("EngineSoakTests", count: 200).forEach { seed in
                var soak = try EngineSoak(seed: seed)
                try soak.run(steps: EngineCrashTests.volume(debug: 160, release: 400))
            }
        } catch { Issue.record("\(error)") }
    }
}
