/// A MongoDB error code, as a client sees it in `code` and `codeName`. This is the one place that lists them.
///
/// The set is open: MongoDB numbers its assertions (they are named `Location40324` and so on) and drivers' tests ask
/// for arbitrary codes, so a code is a number with known names rather than a closed enumeration.
public struct ErrorCode: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: Int32

    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
    @inlinable public init(_ rawValue: Int32) { self.rawValue = rawValue }

    public static func < (left: ErrorCode, right: ErrorCode) -> Bool { left.rawValue < right.rawValue }

    public var description: String { "\(codeName)(\(rawValue))" }

    public static let internalError = ErrorCode(1)
    public static let badValue = ErrorCode(2)
    public static let noSuchKey = ErrorCode(4)
    public static let graphContainsCycle = ErrorCode(5)
    public static let hostUnreachable = ErrorCode(6)
    public static let hostNotFound = ErrorCode(7)
    public static let unknownError = ErrorCode(8)
    public static let failedToParse = ErrorCode(9)
    public static let cannotMutateObject = ErrorCode(10)
    public static let userNotFound = ErrorCode(11)
    public static let unsupportedFormat = ErrorCode(12)
    public static let unauthorized = ErrorCode(13)
    public static let typeMismatch = ErrorCode(14)
    public static let overflow = ErrorCode(15)
    public static let invalidLength = ErrorCode(16)
    public static let protocolError = ErrorCode(17)
    public static let authenticationFailed = ErrorCode(18)
    public static let cannotReuseObject = ErrorCode(19)
    public static let illegalOperation = ErrorCode(20)
    public static let emptyArrayOperation = ErrorCode(21)
    public static let invalidBSON = ErrorCode(22)
    public static let alreadyInitialized = ErrorCode(23)
    public static let lockTimeout = ErrorCode(24)
    public static let remoteValidationError = ErrorCode(25)
    public static let namespaceNotFound = ErrorCode(26)
    public static let indexNotFound = ErrorCode(27)
    public static let pathNotViable = ErrorCode(28)
    public static let nonExistentPath = ErrorCode(29)
    public static let invalidPath = ErrorCode(30)
    public static let roleNotFound = ErrorCode(31)
    public static let rolesNotRelated = ErrorCode(32)
    public static let privilegeNotFound = ErrorCode(33)
    public static let cannotBackfillArray = ErrorCode(34)
    public static let conflictingUpdateOperators = ErrorCode(40)
    public static let cursorNotFound = ErrorCode(43)
    public static let lockBusy = ErrorCode(46)
    public static let noMatchingDocument = ErrorCode(47)
    public static let namespaceExists = ErrorCode(48)
    public static let maxTimeMSExpired = ErrorCode(50)
    public static let manualInterventionRequired = ErrorCode(51)
    public static let dollarPrefixedFieldName = ErrorCode(52)
    public static let invalidIdField = ErrorCode(53)
    public static let notSingleValueField = ErrorCode(54)
    public static let invalidDBRef = ErrorCode(55)
    public static let emptyFieldName = ErrorCode(56)
    public static let dottedFieldName = ErrorCode(57)
    public static let commandNotFound = ErrorCode(59)
    public static let shardKeyNotFound = ErrorCode(61)
    public static let oplogOperationUnsupported = ErrorCode(62)
    public static let staleShardVersion = ErrorCode(63)
    public static let writeConcernFailed = ErrorCode(64)
    public static let multipleErrorsOccurred = ErrorCode(65)
    public static let immutableField = ErrorCode(66)
    public static let cannotCreateIndex = ErrorCode(67)
    public static let indexAlreadyExists = ErrorCode(68)
    public static let shardNotFound = ErrorCode(70)
    public static let replicaSetNotFound = ErrorCode(71)
    public static let invalidOptions = ErrorCode(72)
    public static let invalidNamespace = ErrorCode(73)
    public static let nodeNotFound = ErrorCode(74)
    public static let writeConcernLegacyOK = ErrorCode(75)
    public static let noReplicationEnabled = ErrorCode(76)
    public static let operationIncomplete = ErrorCode(77)
    public static let unknownReplWriteConcern = ErrorCode(79)
    public static let noProgressMade = ErrorCode(82)
    public static let indexOptionsConflict = ErrorCode(85)
    public static let indexKeySpecsConflict = ErrorCode(86)
    public static let cannotSplit = ErrorCode(87)
    public static let networkTimeout = ErrorCode(89)
    public static let callbackCanceled = ErrorCode(90)
    public static let shutdownInProgress = ErrorCode(91)
    public static let invalidReplicaSetConfig = ErrorCode(93)
    public static let notYetInitialized = ErrorCode(94)
    public static let notSecondary = ErrorCode(95)
    public static let operationFailed = ErrorCode(96)
    public static let noProjectionFound = ErrorCode(97)
    public static let unsatisfiableWriteConcern = ErrorCode(100)
    public static let outdatedClient = ErrorCode(101)
    public static let nodeNotElectable = ErrorCode(104)
    public static let lockFailed = ErrorCode(107)
    public static let notExactValueField = ErrorCode(111)
    public static let writeConflict = ErrorCode(112)
    public static let commandNotSupported = ErrorCode(115)
    public static let docTooLargeForCapped = ErrorCode(116)
    public static let conflictingOperationInProgress = ErrorCode(117)
    public static let namespaceNotSharded = ErrorCode(118)
    public static let invalidSyncSource = ErrorCode(119)
    public static let documentValidationFailure = ErrorCode(121)
    public static let notAReplicaSet = ErrorCode(123)
    public static let commandFailed = ErrorCode(125)
    public static let failedToSatisfyReadPreference = ErrorCode(133)
    public static let readConcernMajorityNotAvailableYet = ErrorCode(134)
    public static let cappedPositionLost = ErrorCode(136)
    public static let jsInterpreterFailure = ErrorCode(139)
    public static let invalidSSLConfiguration = ErrorCode(140)
    public static let cursorInUse = ErrorCode(143)
    public static let pooledConnectionsDropped = ErrorCode(145)
    public static let exceededMemoryLimit = ErrorCode(146)
    public static let zLibError = ErrorCode(147)
    public static let readConcernMajorityNotEnabled = ErrorCode(148)
    public static let staleEpoch = ErrorCode(150)
    public static let operationCannotBeBatched = ErrorCode(151)
    public static let durationOverflow = ErrorCode(159)
    public static let maxStalenessOutOfRange = ErrorCode(160)
    public static let collectionIsEmpty = ErrorCode(162)
    public static let viewDepthLimitExceeded = ErrorCode(165)
    public static let commandNotSupportedOnView = ErrorCode(166)
    public static let optionNotSupportedOnView = ErrorCode(167)
    public static let invalidPipelineOperator = ErrorCode(168)
    public static let tooManyMatchingDocuments = ErrorCode(170)
    public static let cannotIndexParallelArrays = ErrorCode(171)
    public static let transportSessionClosed = ErrorCode(172)
    public static let queryPlanKilled = ErrorCode(175)
    public static let fileOpenFailed = ErrorCode(176)
    public static let rangeOverlapConflict = ErrorCode(178)
    public static let ambiguousIndexKeyPattern = ErrorCode(181)
    public static let invalidViewDefinition = ErrorCode(182)
    public static let linearizableReadConcernError = ErrorCode(187)
    public static let incompatibleServerVersion = ErrorCode(188)
    public static let primarySteppedDown = ErrorCode(189)
    public static let failPointEnabled = ErrorCode(192)
    public static let failPointSetFailed = ErrorCode(236)
    public static let viewPipelineMaxSizeExceeded = ErrorCode(195)
    public static let invalidIndexSpecificationOption = ErrorCode(197)
    public static let cannotBuildIndexKeys = ErrorCode(201)
    public static let networkInterfaceExceededTimeLimit = ErrorCode(202)
    public static let noSuchSession = ErrorCode(206)
    public static let invalidUUID = ErrorCode(207)
    public static let tooManyLocks = ErrorCode(208)
    public static let keyNotFound = ErrorCode(211)
    public static let duplicateSession = ErrorCode(213)
    public static let databaseDropPending = ErrorCode(215)
    public static let incompleteTransactionHistory = ErrorCode(217)
    public static let updateOperationFailed = ErrorCode(218)
    public static let indexModified = ErrorCode(221)
    public static let closeChangeStream = ErrorCode(222)
    public static let illegalOpMsgFlag = ErrorCode(223)
    public static let queryFeatureNotAllowed = ErrorCode(224)
    public static let transactionTooOld = ErrorCode(225)
    public static let atomicityFailure = ErrorCode(226)
    public static let cannotImplicitlyCreateCollection = ErrorCode(227)
    public static let maxSubPipelineDepthExceeded = ErrorCode(232)
    public static let tooManyDocumentSequences = ErrorCode(233)
    public static let retryChangeStream = ErrorCode(234)
    public static let internalErrorNotSupported = ErrorCode(235)
    public static let cursorKilled = ErrorCode(237)
    public static let notImplemented = ErrorCode(238)
    public static let snapshotTooOld = ErrorCode(239)
    public static let conversionFailure = ErrorCode(241)
    public static let cannotCreateCollection = ErrorCode(242)
    public static let snapshotUnavailable = ErrorCode(246)
    public static let staleChunkHistory = ErrorCode(250)
    public static let noSuchTransaction = ErrorCode(251)
    public static let reentrancyNotAllowed = ErrorCode(252)
    public static let transactionCommitted = ErrorCode(256)
    public static let transactionTooLarge = ErrorCode(257)
    public static let invalidResumeToken = ErrorCode(260)
    public static let tooManyLogicalSessions = ErrorCode(261)
    public static let exceededTimeLimit = ErrorCode(262)
    public static let operationNotSupportedInTransaction = ErrorCode(263)
    public static let tooManyFilesOpen = ErrorCode(264)
    public static let preparedTransactionInProgress = ErrorCode(267)
    public static let indexBuildAborted = ErrorCode(276)
    public static let changeStreamFatalError = ErrorCode(280)
    public static let changeStreamHistoryLost = ErrorCode(286)
    public static let transactionExceededLifetimeLimitSeconds = ErrorCode(290)
    public static let noQueryExecutionPlans = ErrorCode(291)
    public static let queryExceededMemoryLimitNoDiskUseAllowed = ErrorCode(292)
    public static let apiVersionError = ErrorCode(322)
    public static let apiStrictError = ErrorCode(323)
    public static let apiDeprecationError = ErrorCode(324)
    public static let socketException = ErrorCode(9001)
    public static let notWritablePrimary = ErrorCode(10107)
    public static let bsonObjectTooLarge = ErrorCode(10334)
    public static let duplicateKey = ErrorCode(11000)
    public static let interruptedAtShutdown = ErrorCode(11600)
    public static let interrupted = ErrorCode(11601)
    public static let interruptedDueToReplStateChange = ErrorCode(11602)
    public static let backgroundOperationInProgressForDatabase = ErrorCode(12586)
    public static let backgroundOperationInProgressForNamespace = ErrorCode(12587)
    public static let mergeStageNoMatchingDocument = ErrorCode(13113)
    public static let databaseDifferCase = ErrorCode(13297)
    public static let staleConfig = ErrorCode(13388)
    public static let notPrimaryNoSecondaryOk = ErrorCode(13435)
    public static let notPrimaryOrSecondary = ErrorCode(13436)
    public static let outOfDiskSpace = ErrorCode(14031)

    // Assertions that clients test for; MongoDB names them after their number.
    public static let missingRequiredField = ErrorCode(40414)
    public static let unknownField = ErrorCode(40415)
    public static let unrecognizedStage = ErrorCode(40324)
    public static let malformedStage = ErrorCode(40323)
    public static let emptyFieldPathComponent = ErrorCode(15998)
    public static let dollarFieldPathComponent = ErrorCode(16410)
    public static let unrecognizedAccumulator = ErrorCode(16436)

    /// MongoDB's name for the code: `BadValue`, or `Location40324` for one that has only a number.
    public var codeName: String { Self.names[rawValue] ?? "Location\(rawValue)" }

    private static let names: [Int32: String] = [
        1: "InternalError",
        2: "BadValue",
        4: "NoSuchKey",
        5: "GraphContainsCycle",
        6: "HostUnreachable",
        7: "HostNotFound",
        8: "UnknownError",
        9: "FailedToParse",
        10: "CannotMutateObject",
        11: "UserNotFound",
        12: "UnsupportedFormat",
        13: "Unauthorized",
        14: "TypeMismatch",
        15: "Overflow",
        16: "InvalidLength",
        17: "ProtocolError",
        18: "AuthenticationFailed",
        19: "CannotReuseObject",
        20: "IllegalOperation",
        21: "EmptyArrayOperation",
        22: "InvalidBSON",
        23: "AlreadyInitialized",
        24: "LockTimeout",
        25: "RemoteValidationError",
        26: "NamespaceNotFound",
        27: "IndexNotFound",
        28: "PathNotViable",
        29: "NonExistentPath",
        30: "InvalidPath",
        31: "RoleNotFound",
        32: "RolesNotRelated",
        33: "PrivilegeNotFound",
        34: "CannotBackfillArray",
        40: "ConflictingUpdateOperators",
        43: "CursorNotFound",
        46: "LockBusy",
        47: "NoMatchingDocument",
        48: "NamespaceExists",
        50: "MaxTimeMSExpired",
        51: "ManualInterventionRequired",
        52: "DollarPrefixedFieldName",
        53: "InvalidIdField",
        54: "NotSingleValueField",
        55: "InvalidDBRef",
        56: "EmptyFieldName",
        57: "DottedFieldName",
        59: "CommandNotFound",
        61: "ShardKeyNotFound",
        62: "OplogOperationUnsupported",
        63: "StaleShardVersion",
        64: "WriteConcernFailed",
        65: "MultipleErrorsOccurred",
        66: "ImmutableField",
        67: "CannotCreateIndex",
        68: "IndexAlreadyExists",
        70: "ShardNotFound",
        71: "ReplicaSetNotFound",
        72: "InvalidOptions",
        73: "InvalidNamespace",
        74: "NodeNotFound",
        75: "WriteConcernLegacyOK",
        76: "NoReplicationEnabled",
        77: "OperationIncomplete",
        79: "UnknownReplWriteConcern",
        82: "NoProgressMade",
        85: "IndexOptionsConflict",
        86: "IndexKeySpecsConflict",
        87: "CannotSplit",
        89: "NetworkTimeout",
        90: "CallbackCanceled",
        91: "ShutdownInProgress",
        93: "InvalidReplicaSetConfig",
        94: "NotYetInitialized",
        95: "NotSecondary",
        96: "OperationFailed",
        97: "NoProjectionFound",
        100: "UnsatisfiableWriteConcern",
        101: "OutdatedClient",
        104: "NodeNotElectable",
        107: "LockFailed",
        111: "NotExactValueField",
        112: "WriteConflict",
        115: "CommandNotSupported",
        116: "DocTooLargeForCapped",
        117: "ConflictingOperationInProgress",
        118: "NamespaceNotSharded",
        119: "InvalidSyncSource",
        121: "DocumentValidationFailure",
        123: "NotAReplicaSet",
        125: "CommandFailed",
        133: "FailedToSatisfyReadPreference",
        134: "ReadConcernMajorityNotAvailableYet",
        136: "CappedPositionLost",
        139: "JSInterpreterFailure",
        140: "InvalidSSLConfiguration",
        143: "CursorInUse",
        145: "PooledConnectionsDropped",
        146: "ExceededMemoryLimit",
        147: "ZLibError",
        148: "ReadConcernMajorityNotEnabled",
        150: "StaleEpoch",
        151: "OperationCannotBeBatched",
        159: "DurationOverflow",
        160: "MaxStalenessOutOfRange",
        162: "CollectionIsEmpty",
        165: "ViewDepthLimitExceeded",
        166: "CommandNotSupportedOnView",
        167: "OptionNotSupportedOnView",
        168: "InvalidPipelineOperator",
        170: "TooManyMatchingDocuments",
        171: "CannotIndexParallelArrays",
        172: "TransportSessionClosed",
        175: "QueryPlanKilled",
        176: "FileOpenFailed",
        178: "RangeOverlapConflict",
        181: "AmbiguousIndexKeyPattern",
        182: "InvalidViewDefinition",
        187: "LinearizableReadConcernError",
        188: "IncompatibleServerVersion",
        189: "PrimarySteppedDown",
        192: "FailPointEnabled",
        195: "ViewPipelineMaxSizeExceeded",
        197: "InvalidIndexSpecificationOption",
        201: "CannotBuildIndexKeys",
        202: "NetworkInterfaceExceededTimeLimit",
        206: "NoSuchSession",
        207: "InvalidUUID",
        208: "TooManyLocks",
        211: "KeyNotFound",
        213: "DuplicateSession",
        215: "DatabaseDropPending",
        217: "IncompleteTransactionHistory",
        218: "UpdateOperationFailed",
        221: "IndexModified",
        222: "CloseChangeStream",
        223: "IllegalOpMsgFlag",
        224: "QueryFeatureNotAllowed",
        225: "TransactionTooOld",
        226: "AtomicityFailure",
        227: "CannotImplicitlyCreateCollection",
        232: "MaxSubPipelineDepthExceeded",
        233: "TooManyDocumentSequences",
        234: "RetryChangeStream",
        235: "InternalErrorNotSupported",
        236: "FailPointSetFailed",
        237: "CursorKilled",
        238: "NotImplemented",
        239: "SnapshotTooOld",
        241: "ConversionFailure",
        242: "CannotCreateCollection",
        246: "SnapshotUnavailable",
        250: "StaleChunkHistory",
        251: "NoSuchTransaction",
        252: "ReentrancyNotAllowed",
        256: "TransactionCommitted",
        257: "TransactionTooLarge",
        260: "InvalidResumeToken",
        261: "TooManyLogicalSessions",
        262: "ExceededTimeLimit",
        263: "OperationNotSupportedInTransaction",
        264: "TooManyFilesOpen",
        267: "PreparedTransactionInProgress",
        276: "IndexBuildAborted",
        280: "ChangeStreamFatalError",
        286: "ChangeStreamHistoryLost",
        290: "TransactionExceededLifetimeLimitSeconds",
        291: "NoQueryExecutionPlans",
        292: "QueryExceededMemoryLimitNoDiskUseAllowed",
        322: "APIVersionError",
        323: "APIStrictError",
        324: "APIDeprecationError",
        9001: "SocketException",
        10107: "NotWritablePrimary",
        10334: "BSONObjectTooLarge",
        11000: "DuplicateKey",
        11600: "InterruptedAtShutdown",
        11601: "Interrupted",
        11602: "InterruptedDueToReplStateChange",
        12586: "BackgroundOperationInProgressForDatabase",
        12587: "BackgroundOperationInProgressForNamespace",
        13113: "MergeStageNoMatchingDocument",
        13297: "DatabaseDifferCase",
        13388: "StaleConfig",
        13435: "NotPrimaryNoSecondaryOk",
        13436: "NotPrimaryOrSecondary",
        14031: "OutOfDiskSpace",
        40413: "IDLDuplicateField",
        40414: "IDLFailedToParse",
        40415: "IDLUnknownField",
    ]
}
