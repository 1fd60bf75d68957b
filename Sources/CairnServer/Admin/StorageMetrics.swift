import CairnReplication
import CairnStorage

/// What the tablets of a node's groups say about their storage engines, and about what these share.
///
/// Rates of the counters give write amplification, (wal + flushed + compaction written) / user bytes; read amplification,
/// tables or block reads / lookups; and how well filters do, false positives / (false positives + rejections).
struct StorageMetrics {
    /// In order of the groups.
    var engines: [(group: GroupID, statistics: EngineStatistics)]

    func append(to page: inout PrometheusText) {
        appendLevels(to: &page)
        appendWriting(to: &page)
        appendReading(to: &page)
        appendShared(to: &page)
    }

    private func appendLevels(to page: inout PrometheusText) {
        func perLevel(_ value: (EngineStatistics.Level) -> String) -> [(labels: String, value: String)] {
            engines.flatMap { group, statistics in
                statistics.levels.enumerated().map { number, level in
                    ("group=\"\(group.rawValue)\",level=\"\(number)\"", value(level))
                }
            }
        }
        page.add("cairn_storage_level_tables", .gauge, "Tables of a level.", perLevel { "\($0.tables)" })
        page.add("cairn_storage_level_bytes", .gauge, "Bytes of a level's tables.", perLevel { "\($0.bytes)" })
    }

    private func appendWriting(to page: inout PrometheusText) {
        func add(_ name: String, _ kind: PrometheusText.Kind, _ help: String, _ value: (EngineStatistics) -> String) {
            page.add("cairn_storage_" + name, kind, help, samples(value))
        }
        add("memtable_bytes", .gauge, "Bytes of memtables, active and waiting for their flush.") {
            "\($0.memtableBytes + $0.frozenBytes)"
        }
        add("user_bytes_total", .counter, "Bytes of batches that were applied.") { "\($0.userBytes)" }
        add("wal_bytes_total", .counter, "Bytes given to the tablet's own log, uncompressed.") { "\($0.walBytes)" }
        add("flushes_total", .counter, "Memtables that became tables.") { "\($0.flushes)" }
        add("flushed_bytes_total", .counter, "Bytes of tables that flushes wrote.") { "\($0.flushedBytes)" }
        add("flush_seconds_total", .counter, "Time that flushes took.") { $0.flushTime.text }
        add("compactions_total", .counter, "Compactions that are done.") { "\($0.compactions)" }
        add("compactions_running", .gauge, "Compactions at work.") { "\($0.compactionsRunning)" }
        add("compaction_read_bytes_total", .counter, "Bytes of tables that compactions took in.") {
            "\($0.compactionReadBytes)"
        }
        add("compaction_written_bytes_total", .counter, "Bytes of tables that compactions wrote.") {
            "\($0.compactionWrittenBytes)"
        }
        add("compaction_seconds_total", .counter, "Time that compactions took.") { $0.compactionTime.text }
        add("write_pressure", .gauge, "From 0, writes go on freely, to 1, flushes and compactions are far behind.") {
            "\($0.writePressure)"
        }
        add("background_failing", .gauge, "1 while flushes or compactions fail and are tried again.") {
            $0.backgroundError == nil ? "0" : "1"
        }
    }

    private func appendReading(to page: inout PrometheusText) {
        func add(_ name: String, _ help: String, _ value: (EngineStatistics) -> UInt64) {
            page.add("cairn_storage_" + name, .counter, help, samples { "\(value($0))" })
        }
        add("lookups_total", "Keys that were looked up one by one.") { $0.lookups }
        add("lookup_tables_total", "Tables that lookups asked.") { $0.lookupTables }
        add("lookup_block_reads_total", "Blocks that lookups did not find in the cache.") { $0.lookupBlockReads }
        add("filter_rejections_total", "Tables that a filter ruled out for a lookup.") { $0.filterRejections }
        add("filter_false_positives_total", "Tables that a filter let pass in vain.") { $0.filterFalsePositives }
    }

    /// Of the block cache and the memory budget each engine says the same.
    private func appendShared(to page: inout PrometheusText) {
        guard let shared = engines.first?.statistics else { return }
        page.add("cairn_block_cache_hits_total", .counter, "Blocks found in the cache.", shared.cacheHits)
        page.add("cairn_block_cache_misses_total", .counter, "Blocks not found in the cache.", shared.cacheMisses)
        page.add("cairn_block_cache_bytes", .gauge, "Bytes in the cache, with those of open tables.", shared.cacheBytes)
        page.add(
            "cairn_block_cache_pinned_bytes", .gauge, "Bytes of open tables: indexes, filters, range deletions.",
            shared.cachePinnedBytes)
        page.add("cairn_memtable_bytes", .gauge, "Bytes of the memtables of all groups.", shared.sharedMemtableBytes)
        page.add(
            "cairn_memtable_bytes_max", .gauge, "What the memtables may take before writes slow down.",
            shared.sharedMemtableBytesMax)
    }

    private func samples(_ value: (EngineStatistics) -> String) -> [(labels: String, value: String)] {
        engines.map { ("group=\"\($0.group.rawValue)\"", value($0.statistics)) }
    }
}

extension Duration {
    /// In seconds, to the microsecond.
    fileprivate var text: String {
        let microseconds = components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    }
}
