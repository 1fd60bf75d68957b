import CairnBSON

/// What a write command asks of all its statements besides their order.
struct WriteOptions {
    /// Documents need not keep the collection's rule.
    var bypassesValidation: Bool
    /// Whether the groups are to say what came of each statement, not only of all together.
    var wantsEach: Bool

    init(bypassesValidation: Bool, wantsEach: Bool) {
        self.bypassesValidation = bypassesValidation
        self.wantsEach = wantsEach
    }

    /// As a client's command says.
    init(_ command: Document) {
        self.init(bypassesValidation: command.flag("bypassDocumentValidation") ?? false, wantsEach: false)
    }

    /// Tells a group.
    func set(in body: inout Document) {
        if bypassesValidation { body.set("bypassDocumentValidation", true) }
        if wantsEach { body.set("each", true) }
    }
}
