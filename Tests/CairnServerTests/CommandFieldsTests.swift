import CairnBSON
import CairnQuery
import CairnWire
import Testing

@testable import CairnServer

@Suite struct CommandFieldsTests {
    private func refusal(_ body: Document, sequences: [OpMsg.Sequence] = [], isStrict: Bool = false) -> QueryError? {
        let name = body.first!.name.string
        do throws(QueryError) {
            try CommandFields.all[name]!.check(body, sequences, of: name, isStrict: isStrict)
            return nil
        } catch {
            return error
        }
    }

    private func refusal(ofGeneric body: Document) -> ErrorCode? {
        do throws(QueryError) {
            _ = try GenericArguments(body)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func everyCommandDeclaresItsFields() {
        for command in CommandTable(includesTestCommands: true).commands {
            let fields = command.fields
            #expect(fields != nil, "\(command.name)")
            #expect(fields?.fields.first?.name == command.name)
        }
    }

    @Test func noCommandDeclaresAGenericArgument() {
        for (name, fields) in CommandFields.all {
            for field in fields.fields { #expect(!GenericArguments.names.contains(BSONString(field.name)), "\(name)") }
        }
    }

    @Test func anUnknownFieldIsRefusedWithMongoDBsWords() {
        let error = refusal(["find": "c", "foo": 1])
        #expect(error?.code == .unknownField)
        #expect(error?.code.codeName == "IDLUnknownField")
        #expect(error?.message == "BSON field 'find.foo' is an unknown field.")
    }

    @Test func genericArgumentsPass() {
        #expect(
            refusal([
                "find": "c", "$db": "d", "lsid": [:], "comment": 1, "maxTimeMS": 5, "readConcern": [:],
                "$clusterTime": [:],
                "apiVersion": "1", "$readPreference": [:], "txnNumber": 1,
            ]) == nil)
    }

    @Test func theOwnFieldMayBeSpeltInAnOlderWay() throws {
        try CommandFields.all["findAndModify"]!.check(
            ["findandmodify": "c", "remove": true], [], of: "findAndModify", isStrict: false)
    }

    @Test func aDocumentSequenceStandsForAnArray() {
        let known = OpMsg.Sequence(name: "updates", documents: [["q": [:], "u": [:]]])
        #expect(refusal(["update": "c"], sequences: [known]) == nil)
        let unknown = OpMsg.Sequence(name: "updatez", documents: [])
        #expect(
            refusal(["update": "c"], sequences: [unknown])?.message
                == "BSON field 'update.updatez' is an unknown field.")
        let wrong = OpMsg.Sequence(name: "let", documents: [])
        #expect(refusal(["update": "c"], sequences: [wrong])?.code == .typeMismatch)
        let statement = OpMsg.Sequence(name: "updates", documents: [["q": [:], "u": [:], "mutli": true]])
        #expect(
            refusal(["update": "c"], sequences: [statement])?.message
                == "BSON field 'update.updates.mutli' is an unknown field.")
    }

    @Test func typesAreCheckedAndNullIsNoValue() {
        #expect(refusal(["find": "c", "limit": "x"])?.code == .typeMismatch)
        #expect(refusal(["find": "c", "limit": 1.0, "filter": nil]) == nil)
        #expect(refusal(["find": 5])?.code == .invalidNamespace)
    }

    @Test func strictClientsGetStableFieldsOnly() {
        #expect(refusal(["find": "c", "tailable": true]) == nil)
        #expect(refusal(["find": "c", "tailable": true], isStrict: true)?.code == .apiStrictError)
    }

    @Test(
        arguments: [
            (["ping": 1, "apiVersion": "2"], 322), (["ping": 1, "apiStrict": true], 4_886_600),
            (["ping": 1, "apiVersion": 1], 14), (["ping": 1, "maxTimeMS": -1], 2),
            (["ping": 1, "readConcern": ["level": "x"]], 9), (["ping": 1, "readConcern": ["level": "snapshot"]], 72),
            (["ping": 1, "writeConcern": ["w": true]], 9), (["ping": 1, "writeConcern": ["v": 1]], 40415),
            (["ping": 1, "lsid": 5], 14),
        ] as [(Document, Int32)])
    func genericArgumentsThatMeanNothingAreRefused(body: Document, code: Int32) {
        #expect(refusal(ofGeneric: body) == ErrorCode(code))
    }

    @Test func aWriteConcernFallsShortWhereThereAreFewerCopies() throws {
        func shortfall(_ w: Value) throws -> Int64? {
            try GenericArguments(["insert": "c", "writeConcern": ["w": w]]).writeConcern?.shortfall(replicas: 3)?[
                "code"]?
                .int64Exactly
        }
        #expect(try shortfall(0) == nil)
        #expect(try shortfall(3) == nil)
        #expect(try shortfall("majority") == nil)
        #expect(try shortfall(4) == 100)
        #expect(try shortfall("dc") == 79)
        #expect(try shortfall(["dc": 2]) == 79)
    }
}
