import CairnReplication
import CairnStorage
import Testing

@testable import CairnServer

@Suite struct StorageMetricsTests {
    private func page(_ engines: [(group: GroupID, statistics: EngineStatistics)]) -> [Substring] {
        var page = PrometheusText()
        StorageMetrics(engines: engines).append(to: &page)
        return page.text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    @Test func everyGroupHasItsLinesAndWhatIsSharedStandsOnce() {
        var first = EngineStatistics()
        first.levels = [.init(tables: 2, bytes: 300), .init(tables: 1, bytes: 4000)]
        first.compactionTime = .milliseconds(1250)
        first.flushTime = .microseconds(7)
        first.filterFalsePositives = 3
        first.cacheHits = 17
        var second = first
        second.levels = [.init(tables: 0, bytes: 0)]
        second.writePressure = 0.5
        let lines = page([(GroupID(rawValue: 1), first), (GroupID(rawValue: 4), second)])
        for line in [
            "# TYPE cairn_storage_level_bytes gauge",
            "cairn_storage_level_bytes{group=\"1\",level=\"1\"} 4000",
            "cairn_storage_level_tables{group=\"1\",level=\"0\"} 2",
            "cairn_storage_level_tables{group=\"4\",level=\"0\"} 0",
            "# TYPE cairn_storage_compaction_seconds_total counter",
            "cairn_storage_compaction_seconds_total{group=\"4\"} 1.250000",
            "cairn_storage_flush_seconds_total{group=\"1\"} 0.000007",
            "cairn_storage_filter_false_positives_total{group=\"1\"} 3",
            "cairn_storage_write_pressure{group=\"4\"} 0.5", "cairn_block_cache_hits_total 17",
        ] {
            #expect(lines.filter { $0 == line }.count == 1, "\(line)")
        }
    }

    @Test func everyMetricHasHelpAndTypeAndCountersSaySo() {
        let lines = page([(GroupID(rawValue: 1), EngineStatistics())])
        let names = Set(lines.filter { !$0.hasPrefix("#") && !$0.isEmpty }.map { $0.prefix { $0 != "{" && $0 != " " } })
        #expect(names.count > 20)
        for name in names {
            #expect(lines.contains { $0.hasPrefix("# HELP \(name) ") }, "\(name)")
            let kind = name.hasSuffix("_total") ? "counter" : "gauge"
            #expect(lines.contains("# TYPE \(name) \(kind)"), "\(name)")
        }
    }
}
