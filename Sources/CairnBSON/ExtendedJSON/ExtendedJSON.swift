/// MongoDB Extended JSON, version 2: BSON as text that people and other programs read.
///
/// The canonical form keeps every type (`{"$numberInt": "1"}`); the relaxed one writes numbers and dates of this age the
/// way JSON does and loses only the difference between number types. Both are read, and may be mixed.
///
/// Source: <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>.
public enum ExtendedJSON {
    public enum Format: Hashable, Sendable { case canonical, relaxed }

    /// The text of a document, on one line.
    public static func string(from document: Document, format: Format = .relaxed) -> String {
        var printer = Printer(format: format)
        printer.print(document, depth: 1)
        return printer.text
    }

    /// The text of a value.
    public static func string(from value: Value, format: Format = .relaxed) -> String {
        var printer = Printer(format: format)
        printer.print(value, depth: 0)
        return printer.text
    }
}
