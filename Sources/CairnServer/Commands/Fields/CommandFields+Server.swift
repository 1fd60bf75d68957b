// Commands about servers, sessions and the cluster, and the fields that they take.
extension CommandFields {
    static let server: [String: CommandFields] = [
        "hello": CommandFields(
            [
                CommandField("hello"), CommandField("helloOk", .flag), CommandField("client", .object),
                CommandField("compression", .array), CommandField("topologyVersion", .object),
                CommandField("maxAwaitTimeMS", .number), CommandField("loadBalanced", .flag),
                CommandField("saslSupportedMechs"), CommandField("speculativeAuthenticate", .object),
            ], isOpen: true, isStable: true),
        "isMaster": CommandFields([CommandField("isMaster")], isOpen: true),
        "ping": CommandFields([CommandField("ping")], isOpen: true, isStable: true),
        "buildInfo": CommandFields([CommandField("buildInfo")], isOpen: true),
        "serverStatus": CommandFields([CommandField("serverStatus")], isOpen: true),
        "getParameter": CommandFields([CommandField("getParameter")], isOpen: true),
        "setParameter": CommandFields([CommandField("setParameter")], isOpen: true),
        "currentOp": CommandFields([CommandField("currentOp")], isOpen: true),
        "killOp": CommandFields([CommandField("killOp"), CommandField("op", .number)]),
        "getCmdLineOpts": CommandFields([CommandField("getCmdLineOpts")]),
        "connectionStatus": CommandFields([
            CommandField("connectionStatus"), CommandField("showPrivileges", .flag),
        ]),
        "usersInfo": CommandFields([
            CommandField("usersInfo"), CommandField("showCredentials", .flag), CommandField("showPrivileges", .flag),
            CommandField("showAuthenticationRestrictions", .flag), CommandField("showCustomData", .flag),
            CommandField("filter", .object),
        ]),
        "whatsmyuri": CommandFields([CommandField("whatsmyuri")]),
        "hostInfo": CommandFields([CommandField("hostInfo")]),
        "listCommands": CommandFields([CommandField("listCommands")]),
        "getLastError": CommandFields([
            CommandField("getLastError"), CommandField("w"), CommandField("j", .flag), CommandField("fsync", .flag),
            CommandField("wtimeout", .number),
        ]),
        "fsync": CommandFields([
            CommandField("fsync"), CommandField("lock", .flag), CommandField("async", .flag),
        ]),
        "getLog": CommandFields([CommandField("getLog", .string)]),
        "logRotate": CommandFields([CommandField("logRotate")]),
        "top": CommandFields([CommandField("top")]),
        "profile": CommandFields([
            CommandField("profile", .number), CommandField("slowms", .number), CommandField("sampleRate", .number),
            CommandField("filter"),
        ]),
        "configureFailPoint": CommandFields([
            CommandField("configureFailPoint", .string), CommandField("mode"), CommandField("data", .object),
        ]),
        "startSession": CommandFields([CommandField("startSession")]),
        "endSessions": CommandFields([CommandField("endSessions", .array)], isStable: true),
        "refreshSessions": CommandFields([CommandField("refreshSessions", .array)], isStable: true),
        "killSessions": CommandFields([CommandField("killSessions", .array)]),
        "cairnLayout": CommandFields([CommandField("cairnLayout")]),
        "cairnStatus": CommandFields([CommandField("cairnStatus")]),
        "cairnRotateKey": CommandFields([CommandField("cairnRotateKey"), CommandField("rewrite", .bool)]),
        "cairnDataKeys": CommandFields([CommandField("cairnDataKeys")]),
        "cairnAddNode": CommandFields([
            CommandField("cairnAddNode"), CommandField("client", .string), CommandField("peer", .string),
            CommandField("http", .string),
        ]),
        "cairnDrainNode": CommandFields([CommandField("cairnDrainNode"), CommandField("node", .number)]),
        "cairnActivateNode": CommandFields([CommandField("cairnActivateNode"), CommandField("node", .number)]),
        "cairnRemoveNode": CommandFields([CommandField("cairnRemoveNode"), CommandField("node", .number)]),
        "cairnNodeGroups": CommandFields([CommandField("cairnNodeGroups"), CommandField("node", .number)]),
        "cairnReplaceNode": CommandFields([
            CommandField("cairnReplaceNode"), CommandField("node", .number), CommandField("with", .number),
        ]),
        "cairnMoveLeader": CommandFields([
            CommandField("cairnMoveLeader"), CommandField("node", .number), CommandField("group", .number),
        ]),
    ]
}
