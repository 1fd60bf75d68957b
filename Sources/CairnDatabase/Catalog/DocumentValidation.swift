import CairnBSON
import CairnQuery

/// A collection's rule for its documents: `validator` with `validationLevel` and `validationAction`.
struct DocumentValidation: Sendable {
    let filter: Filter
    /// `moderate`: documents that broke the rule before may go on doing so.
    let isModerate: Bool

    /// - Returns: nil when the options ask for no check: no validator, `validationLevel: off`, `validationAction: warn`.
    init?(options: Document, collation: Collation?) throws {
        guard let validator = options["validator"]?.asDocument, !validator.isEmpty else { return nil }
        let level = options["validationLevel"]?.stringValue ?? "strict"
        guard level != "off", options["validationAction"]?.stringValue ?? "error" == "error" else { return nil }
        var context = QueryContext()
        context.collation = collation
        filter = try Filter(parsing: validator, context: context)
        isModerate = level == "moderate"
    }

    /// - Parameter old: what `new` replaces, nil for an insertion.
    /// - Throws: ``QueryError`` 121.
    func check(_ new: Document, replacing old: Document?) throws {
        if try filter.matches(new) { return }
        if isModerate, let old, try !filter.matches(old) { return }
        var info = DocumentBuilder()
        if let id = new["_id"] { info.append("failingDocumentId", id) }
        var details = DocumentBuilder()
        details.append("errInfo", info.finish())
        throw QueryError(.documentValidationFailure, "Document failed validation", details: details.finish())
    }
}
