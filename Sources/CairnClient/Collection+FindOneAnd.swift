public import CairnBSON

/// Which state of a changed document is returned.
public enum ReturnedDocument: Sendable {
    /// As it was before the change; nothing when the change has inserted it.
    case before
    /// As the change has left it.
    case after
}

/// Single documents that are changed and returned in one step, between which no other write comes.
extension Collection {
    /// Changes the first document that matches, and returns it.
    ///
    /// As a compare-and-set: the filter says what the document has to be, and nil says that it was something else.
    ///
    /// - Parameters:
    ///   - update: operators such as `$inc`.
    ///   - sort: which of several matching documents is the first.
    ///   - upsert: whether a document is inserted when none matches.
    /// - Returns: the document, or nil when none matched, or when it was inserted and its state before that is asked for.
    /// - Throws: ``ClientError``.
    @discardableResult
    public func findOneAndUpdate(
        _ filter: Document, _ update: Document, sort: Document? = nil, upsert: Bool = false,
        returning: ReturnedDocument = .before, timeout: Duration? = nil
    ) async throws(ClientError) -> Element? {
        try await findAndModify(filter, update, sort: sort, upsert: upsert, returning: returning, timeout: timeout)
    }

    /// Puts an element in the place of the first document that matches, and returns the document.
    ///
    /// - Returns: the document, or nil when none matched, or when it was inserted and its state before that is asked for.
    /// - Throws: ``ClientError``.
    @discardableResult
    public func findOneAndReplace(
        _ filter: Document, _ replacement: Element, sort: Document? = nil, upsert: Bool = false,
        returning: ReturnedDocument = .before, timeout: Duration? = nil
    ) async throws(ClientError) -> Element? {
        let document = try encoded(replacement)
        // The cluster would take it for operators.
        if let first = document.first?.name.string, first.hasPrefix("$") {
            throw ClientError(.coding, "a replacement has no operators, and this one has '\(first)'")
        }
        return try await findAndModify(
            filter, document, sort: sort, upsert: upsert, returning: returning, timeout: timeout)
    }

    /// Removes the first document that matches, and returns it; nil when none does.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func findOneAndDelete(
        _ filter: Document, sort: Document? = nil, timeout: Duration? = nil
    ) async throws(ClientError) -> Element? {
        try await findAndModify(filter, nil, sort: sort, upsert: false, returning: .before, timeout: timeout)
    }

    /// - Parameter update: nil removes the document.
    private func findAndModify(
        _ filter: Document, _ update: Document?, sort: Document?, upsert: Bool, returning: ReturnedDocument,
        timeout: Duration?
    ) async throws(ClientError) -> Element? {
        var command = DocumentBuilder()
        command.append("findAndModify", .string(BSONString(name)))
        command.append("query", .document(filter))
        if let sort { command.append("sort", .document(sort)) }
        if let update {
            command.append("update", .document(update))
            command.append("upsert", .bool(upsert))
            command.append("new", .bool(returning == .after))
        } else {
            command.append("remove", .bool(true))
        }
        let reply = try await client.run(command.finish(), in: database, timeout: timeout)
        switch reply["value"] {
        case .document(let document): return try decoded(document)
        case .null: return nil
        default: throw ClientError(.malformedAnswer, "findAndModify answered without a value", reply: reply)
        }
    }
}
