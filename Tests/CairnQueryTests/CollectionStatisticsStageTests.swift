import CairnBSON
import CairnQuery
import Testing

@Suite("$collStats") struct CollectionStatisticsStageTests {
    @Test func itSaysWhatThePipelineRunsOver() throws {
        let pipeline = try Pipeline(
            parsing: [json("{'$collStats': {'storageStats': {'scale': 1024}, 'count': {}}}"), json("{'$limit': 1}")])
        #expect(pipeline.report == .collectionStatistics(storageScale: 1024, count: true))
        #expect(pipeline.source == [json("{'$limit': 1}")])
    }

    @Test func itStandsFirst() {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$match': {}}"), json("{'$collStats': {}}")]) } == ErrorCode(40602)
        )
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$facet': {'a': [{'$collStats': {}}]}}")]) } == ErrorCode(40600))
    }

    @Test(arguments: [
        ("1", 5_447_000), ("{'x': {}}", 40415), ("{'count': 1}", 14), ("{'storageStats': {'scale': 0}}", 2),
        ("{'latencyStats': {}}", 238),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$collStats': \(stage)}")]) } == ErrorCode(expected), "\(stage)")
    }
}
