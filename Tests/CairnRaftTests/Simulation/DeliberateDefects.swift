import CairnDefects
import CairnTestSupport
import Testing

/// The simulation of the core finds each bug that the core can be made to have.
@Suite(.enabled(if: Defects.areCompiledIn, "release builds have no deliberate bugs"))
struct DeliberateDefectsInTheCore {
    private static let defects: [Defect] = [
        .voteWithoutPersisting, .forgetVoteAtRestart, .preVoteForShorterLog, .voteForShorterLog, .voteWithinLease,
        .acknowledgeUnsyncedAppend, .truncateAtDuplicateAppend,
        .commitOlderTermByCount, .countUnsyncedOwnCopy, .countLearners,
        .serveReadOnExpiredLease, .leaseFromAnswer, .keepLeaseInTransfer, .readWithoutConfirmation,
        .readBeforeOwnCommit,
        .skipJointConfiguration,
    ]

    @Test(arguments: DefectHunt.chosen(from: defects)) func isFound(defect: Defect) {
        let found = DefectHunt("core", seedsMax: 2_000).hunt(defect.rawValue) { seed in
            Simulation(seed: seed, defects: Defects(defect)).run()
        }
        #expect(found != nil, "no seed finds \(defect)")
    }
}
