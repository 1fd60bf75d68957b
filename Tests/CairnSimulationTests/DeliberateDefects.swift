import CairnDefects
import CairnTestSupport
import Testing

/// The simulation of whole nodes finds each bug that they can be made to have beside those of the core.
@Suite(.enabled(if: Defects.areCompiledIn, "release builds have no deliberate bugs"))
struct DeliberateDefectsInNodes {
    private static let defects: [Defect] = [
        .voteWithoutPersisting, .acknowledgeUnsyncedAppend,
        .skipLogSync, .giveUpSegmentInUse, .purgeBeyondDurable, .omitTableFromSnapshot,
        .readFromFollower,
        .applyAgainAfterRestart, .answerBeforeCommit, .repeatRetriedWrite, .keepSessionsInMemory, .leaveOldIndexEntries,
    ]

    @Test(arguments: DefectHunt.chosen(from: defects)) func isFound(defect: Defect) {
        let found = DefectHunt("nodes", seedsMax: 300).hunt(defect.rawValue) { seed in
            Simulation(seed: seed, defects: Defects(defect)).run()
        }
        #expect(found != nil, "no seed finds \(defect)")
    }
}
