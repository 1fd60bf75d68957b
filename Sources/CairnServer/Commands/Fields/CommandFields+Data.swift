// The commands on documents, collections and indexes, with the fields that MongoDB 7 documents for them. A field that Cairn cannot
// obey is declared all the same: the command that meets it says so, which is more use than "unknown".
extension CommandFields {
    /// By the name in `CommandTable`.
    static let all: [String: CommandFields] = documents.merging(collections) { own, _ in own }
        .merging(server) { own, _ in own }

    private static let statementNumbers = [CommandField("stmtId", .number), CommandField("stmtIds", .array)]

    private static let documents: [String: CommandFields] = [
        "find": CommandFields(
            [
                CommandField("find", .collection), CommandField("filter", .object), CommandField("projection", .object),
                CommandField("sort", .object), CommandField("hint"), CommandField("collation", .object),
                CommandField("skip", .number), CommandField("limit", .number), CommandField("batchSize", .number),
                CommandField("singleBatch", .flag), CommandField("let", .object),
                CommandField("allowDiskUse", .flag), CommandField("allowPartialResults", .flag),
                CommandField("max", .object, isStable: false), CommandField("min", .object, isStable: false),
                CommandField("returnKey", .flag, isStable: false),
                CommandField("showRecordId", .flag, isStable: false),
                CommandField("tailable", .flag, isStable: false), CommandField("awaitData", .flag, isStable: false),
                CommandField("oplogReplay", .flag, isStable: false),
                CommandField("noCursorTimeout", .flag, isStable: false),
            ], isStable: true),
        "getMore": CommandFields(
            [CommandField("getMore", .long), CommandField("collection", .string), CommandField("batchSize", .number)],
            isStable: true),
        "killCursors": CommandFields(
            [CommandField("killCursors", .collection), CommandField("cursors", .array)], isStable: true),
        "aggregate": CommandFields(
            [
                CommandField("aggregate"), CommandField("pipeline", .array), CommandField("explain", .flag),
                CommandField("allowDiskUse", .flag), CommandField("cursor", .object), CommandField("hint"),
                CommandField("collation", .object), CommandField("let", .object),
                CommandField("bypassDocumentValidation", .flag), CommandField("allowPartialResults", .flag),
            ], isStable: true),
        "count": CommandFields(
            [
                CommandField("count", .collection), CommandField("query", .object), CommandField("limit", .number),
                CommandField("skip", .number), CommandField("hint"), CommandField("collation", .object),
                CommandField("fields", .object),
            ], isStable: true),
        "distinct": CommandFields([
            CommandField("distinct", .collection), CommandField("key", .string), CommandField("query", .object),
            CommandField("collation", .object), CommandField("hint"),
        ]),
        "insert": CommandFields(
            [
                CommandField("insert", .collection), CommandField("documents", .array), CommandField("ordered", .flag),
                CommandField("bypassDocumentValidation", .flag),
            ] + statementNumbers, isStable: true),
        "update": CommandFields(
            [
                CommandField("update", .collection),
                CommandField(
                    "updates",
                    .statements([
                        CommandField("q", .object), CommandField("u"), CommandField("c", .object),
                        CommandField("arrayFilters", .array), CommandField("multi", .flag),
                        CommandField("upsert", .flag), CommandField("hint"), CommandField("collation", .object),
                        CommandField("sort", .object),
                    ])), CommandField("ordered", .flag), CommandField("let", .object),
                CommandField("bypassDocumentValidation", .flag),
            ] + statementNumbers, isStable: true),
        "delete": CommandFields(
            [
                CommandField("delete", .collection),
                CommandField(
                    "deletes",
                    .statements([
                        CommandField("q", .object), CommandField("limit", .number), CommandField("hint"),
                        CommandField("collation", .object),
                    ])), CommandField("ordered", .flag), CommandField("let", .object),
            ] + statementNumbers, isStable: true),
        "findAndModify": CommandFields(
            [
                CommandField("findAndModify", .collection), CommandField("query", .object),
                CommandField("fields", .object), CommandField("sort", .object), CommandField("hint"),
                CommandField("collation", .object), CommandField("update"), CommandField("arrayFilters", .array),
                CommandField("remove", .flag), CommandField("new", .flag), CommandField("upsert", .flag),
                CommandField("bypassDocumentValidation", .flag), CommandField("let", .object),
            ] + statementNumbers, isStable: true),
        "bulkWrite": CommandFields(
            [
                CommandField("bulkWrite"), CommandField("ops", .array), CommandField("nsInfo", .array),
                CommandField("ordered", .flag), CommandField("let", .object), CommandField("errorsOnly", .flag),
                CommandField("cursor", .object), CommandField("bypassDocumentValidation", .flag),
            ] + statementNumbers, isStable: true),
        "explain": CommandFields(
            [CommandField("explain", .object), CommandField("verbosity", .string)], isStable: true),
    ]

    private static let collections: [String: CommandFields] = [
        "create": CommandFields(
            [
                CommandField("create", .collection), CommandField("validator", .object),
                CommandField("validationLevel", .string), CommandField("validationAction", .string),
                CommandField("collation", .object), CommandField("viewOn", .string), CommandField("pipeline", .array),
                CommandField("timeseries", .object), CommandField("clusteredIndex"),
                CommandField("expireAfterSeconds"), CommandField("encryptedFields", .object),
                CommandField("changeStreamPreAndPostImages", .object), CommandField("idIndex", .object),
                CommandField("capped", .flag, isStable: false), CommandField("size", .number, isStable: false),
                CommandField("max", .number, isStable: false), CommandField("autoIndexId", .flag, isStable: false),
                CommandField("storageEngine", .object, isStable: false),
                CommandField("indexOptionDefaults", .object, isStable: false),
                CommandField("flags", .number, isStable: false), CommandField("placement", .string, isStable: false),
            ], isStable: true),
        "convertToCapped": CommandFields([
            CommandField("convertToCapped", .collection), CommandField("size", .number),
        ]),
        "cloneCollectionAsCapped": CommandFields([
            CommandField("cloneCollectionAsCapped", .collection), CommandField("toCollection", .string),
            CommandField("size", .number),
        ]),
        "drop": CommandFields([CommandField("drop", .collection)], isStable: true),
        "dropDatabase": CommandFields([CommandField("dropDatabase")], isStable: true),
        "renameCollection": CommandFields([
            CommandField("renameCollection", .string), CommandField("to", .string), CommandField("dropTarget", .flag),
        ]),
        "collMod": CommandFields(
            [
                CommandField("collMod", .collection), CommandField("index", .object),
                CommandField("validator", .object), CommandField("validationLevel", .string),
                CommandField("validationAction", .string), CommandField("viewOn", .string),
                CommandField("pipeline", .array), CommandField("expireAfterSeconds"),
                CommandField("timeseries", .object), CommandField("changeStreamPreAndPostImages", .object),
                CommandField("cappedSize", .number), CommandField("cappedMax", .number), CommandField("dryRun", .flag),
            ], isStable: true),
        "listCollections": CommandFields(
            [
                CommandField("listCollections"), CommandField("filter", .object), CommandField("nameOnly", .flag),
                CommandField("authorizedCollections", .flag), CommandField("cursor", .object),
            ], isStable: true),
        "listDatabases": CommandFields(
            [
                CommandField("listDatabases"), CommandField("filter", .object), CommandField("nameOnly", .flag),
                CommandField("authorizedDatabases", .flag),
            ], isStable: true),
        "createIndexes": CommandFields(
            [
                CommandField("createIndexes", .collection), CommandField("indexes", .array),
                CommandField("commitQuorum"), CommandField("ignoreUnknownIndexOptions", .flag),
            ], isStable: true),
        "listIndexes": CommandFields(
            [
                CommandField("listIndexes", .collection), CommandField("cursor", .object),
                CommandField("includeBuildUUIDs", .flag), CommandField("includeIndexBuildInfo", .flag),
            ], isStable: true),
        "dropIndexes": CommandFields(
            [CommandField("dropIndexes", .collection), CommandField("index")], isStable: true),
        "collStats": CommandFields([
            CommandField("collStats", .collection), CommandField("scale", .number), CommandField("verbose", .flag),
        ]),
        "dataSize": CommandFields([
            CommandField("dataSize", .string), CommandField("keyPattern", .object), CommandField("min", .object),
            CommandField("max", .object), CommandField("estimate", .flag),
        ]),
        "validate": CommandFields([
            CommandField("validate", .collection), CommandField("full", .flag), CommandField("background", .flag),
            CommandField("repair", .flag), CommandField("metadata", .flag), CommandField("fixMultikey", .flag),
            CommandField("checkBSONConformance", .flag), CommandField("enforceFastCount", .flag),
            CommandField("scandata", .flag),
        ]),
        "dbStats": CommandFields([
            CommandField("dbStats"), CommandField("scale", .number), CommandField("freeStorage", .number),
        ]),
    ]
}
