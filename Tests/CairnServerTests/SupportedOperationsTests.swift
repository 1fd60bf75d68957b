import CairnBSON
import CairnTestSupport
import Foundation
import Testing

@testable import CairnQuery
@testable import CairnServer

/// The page that says what of MongoDB 7's language is supported is made from the code: every name is put to the parsers, and what
/// they say goes into the table. After an intended change, run with `CAIRN_REWRITE=1` and commit the difference.
@Suite("The page of supported operations")
struct SupportedOperationsTests {
    private static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    private static let page = repository.appending(
        path: "Sources/CairnServer/CairnServer.docc/SupportedOperations.md")

    @Test("The page agrees with the code")
    func pageIsCurrent() throws {
        let made = try Self.markdown()
        if ProcessInfo.processInfo.environment["CAIRN_REWRITE"] == "1" {
            try made.write(to: Self.page, atomically: true, encoding: .utf8)
        }
        let written = try String(contentsOf: Self.page, encoding: .utf8)
        #expect(written == made, "the page is stale: run this test with CAIRN_REWRITE=1 and commit the page")
    }

    @Test("Names that exist nowhere are told from those that are known")
    func unknownNames() {
        #expect(Self.stage("$noSuchStage") == .unknown(code: 40324))
        #expect(Self.expression("$noSuchOperator") == .unknown(code: 168))
        #expect(Self.filter("$noSuchOperator") == .unknown(code: 2))
        #expect(Self.update("$noSuchOperator") == .unknown(code: 9))
        #expect(Self.stage("$match") == .supported)
        #expect(Self.expression("$add") == .supported)
        #expect(Self.filter("$elemMatch") == .supported)
        #expect(Self.update("$push") == .supported)
    }

    // MARK: - The page

    private static func markdown() throws -> String {
        let names = try JSONDecoder().decode(
            [String: [String]].self,
            from: try Data(contentsOf: repository.appending(path: "scripts/lib/mongodb-7-names.json")))
        let sections: [(title: String, key: String, about: String, judge: (String) -> Support)] = [
            ("Commands", "commands", "", command),
            ("Aggregation stages", "stages", "", stage),
            ("Expression operators", "expressions", "", expression),
            ("Accumulators of $group", "accumulators", "", accumulator),
            ("Window functions of $setWindowFields", "window functions", "", windowFunction),
            ("Query operators", "filters", "", filter),
            ("Update operators", "updates", "Pipelines as updates are supported as well.", update),
            ("Projection operators of find", "projections", "`$positional` stands for `array.$`.", projection),
        ]
        var text = """
            # What of MongoDB 7 is supported

            Every name of MongoDB 7's query language, and what Cairn says to it.

            ## Overview

            This page is made from the code, by a test that puts each name to the parsers, and checked by the same test. A name
            that is not supported is never passed over: the command that has it ends with the error of the table.


            """
        for section in sections {
            let judged = names[section.key, default: []].map { ($0, section.judge($0)) }
            let count = judged.filter { $0.1 == .supported }.count
            text += "## \(section.title)\n\n\(count) of \(judged.count) are supported."
            if !section.about.isEmpty { text += " " + section.about }
            text += "\n\n| Name | |\n|---|---|\n"
            for (name, support) in judged { text += "| `\(name)` | \(support.text) |\n" }
            text += "\n"
            if section.key == "commands" {
                let own = CommandTable().commands.filter { !names[section.key, default: []].contains($0.name) }
                text += "Commands beside those of MongoDB 7's documentation:\n\n| Name | What it does |\n|---|---|\n"
                for command in own.sorted(by: { $0.name < $1.name }) {
                    text += "| `\(command.name)` | \(command.help) |\n"
                }
                text += "\n"
            }
        }
        return text.trimmingCharacters(in: .newlines) + "\n"
    }

    // MARK: - Asking

    enum Support: Equatable {
        case supported
        /// Known, and refused.
        case refused(code: Int32, String)
        case unknown(code: Int32)

        var text: String {
            switch self {
            case .supported: "supported"
            case .refused(let code, let reason): "refused, code \(code): \(reason.replacing("|", with: "\\|"))"
            case .unknown(let code): "not known, code \(code)"
            }
        }
    }

    private static func command(_ name: String) -> Support {
        CommandTable()[name] == nil ? .unknown(code: ErrorCode.commandNotFound.rawValue) : .supported
    }

    /// Operands of many shapes; a name whose parser takes one, or complains of its shape, is known.
    private static let operands: [Value] = [
        .int32(1), .string("a"), .string("$a"), .bool(true), .document([:]), .array([]), .document(["a": 1]),
        .array([1]),
        .array([1, 2]), .array(["$a", "$b"]), .array([["a": 1]]), .array([1, 2, 3]), .null,
    ]

    private static func judge(
        _ operands: [Value] = operands, unknown: (QueryError) -> Bool, _ parse: (Value) throws(QueryError) -> Void
    ) -> Support {
        for operand in operands {
            do throws(QueryError) {
                try parse(operand)
                return .supported
            } catch {
                if unknown(error) { return .unknown(code: error.code.rawValue) }
                if error.message.contains("not supported") || error.code == .notImplemented {
                    return .refused(code: error.code.rawValue, error.message)
                }
            }
        }
        return .supported
    }

    private static func stage(_ name: String) -> Support {
        judge(unknown: { $0.code == .unrecognizedStage }) { (operand) throws(QueryError) in
            _ = try Pipeline(parsing: [Document([(name, operand)])])
        }
    }

    private static func expression(_ name: String) -> Support {
        judge(unknown: { $0.code == .invalidPipelineOperator }) { (operand) throws(QueryError) in
            _ = try Expression(parsing: .document(Document([(name, operand)])))
        }
    }

    private static func accumulator(_ name: String) -> Support {
        judge(unknown: { $0.code == ErrorCode(15952) }) { (operand) throws(QueryError) in
            _ = try Pipeline(parsing: [["$group": ["_id": .null, "a": .document(Document([(name, operand)]))]]])
        }
    }

    private static func windowFunction(_ name: String) -> Support {
        judge(unknown: { $0.message.contains("Unrecognized") || $0.message.contains("unknown") }) {
            (operand) throws(QueryError) in
            _ = try Pipeline(parsing: [
                ["$setWindowFields": ["sortBy": ["t": 1], "output": ["a": .document(Document([(name, operand)]))]]]
            ])
        }
    }

    private static func filter(_ name: String) -> Support {
        let isTop = ["$and", "$or", "$nor", "$expr", "$jsonSchema", "$comment", "$sampleRate", "$text", "$where"]
            .contains(name)
        return judge(unknown: { $0.message.hasPrefix("unknown") }) { (operand) throws(QueryError) in
            let condition = Document([(name, operand)])
            _ = try Filter(parsing: isTop ? condition : ["f": .document(condition)])
        }
    }

    private static func update(_ name: String) -> Support {
        let operands = Self.operands.map { Value.document(["f": $0]) }
        return judge(operands, unknown: { $0.message.contains("Unknown modifier") }) { (operand) throws(QueryError) in
            _ = try Update(parsing: .document(Document([(name, operand)])))
        }
    }

    private static func projection(_ name: String) -> Support {
        if name == "$positional" {
            return judge([.int32(1)], unknown: { _ in false }) { (operand) throws(QueryError) in
                _ = try Projection(parsing: Document([("f.$", operand)]))
            }
        }
        return judge(unknown: { $0.code == .invalidPipelineOperator }) { (operand) throws(QueryError) in
            _ = try Projection(parsing: ["f": .document(Document([(name, operand)]))])
        }
    }
}
