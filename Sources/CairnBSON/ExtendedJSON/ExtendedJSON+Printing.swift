extension ExtendedJSON {
    /// Writes UTF-8 into one array.
    struct Printer {
        let format: Format
        private var bytes: [UInt8] = []

        init(format: Format) { self.format = format }

        var text: String { String(decoding: bytes, as: UTF8.self) }

        mutating func print(_ document: Document, depth: Int) {
            guard enter(depth) else { return }
            write("{")
            var first = true
            for element in document {
                if !first { write(",") }
                first = false
                quote(element.name)
                write(":")
                print(element.value, depth: depth)
            }
            write("}")
        }

        private mutating func print(_ array: BSONArray, depth: Int) {
            guard enter(depth) else { return }
            write("[")
            var first = true
            for value in array {
                if !first { write(",") }
                first = false
                print(value, depth: depth)
            }
            write("]")
        }

        /// Documents that came through the door are not that deep; others end in a sign that something was left out.
        private mutating func enter(_ depth: Int) -> Bool {
            if depth <= Value.comparisonDepthMax { return true }
            write("\"...\"")
            return false
        }

        mutating func print(_ value: Value, depth: Int) {
            switch value {
            case .double(let value): print(value)
            case .string(let value): quote(value)
            case .document(let value): print(value, depth: depth + 1)
            case .array(let value): print(value, depth: depth + 1)
            case .binary(let value):
                write("{\"$binary\":{\"base64\":\"")
                write(Base64.encode(value.data))
                write("\",\"subType\":\"")
                write(hexadecimal([value.subtype.rawValue]))
                write("\"}}")
            case .undefined: write("{\"$undefined\":true}")
            case .objectID(let value): wrap("$oid", value.hex)
            case .bool(let value): write(value ? "true" : "false")
            case .date(let milliseconds): print(date: milliseconds)
            case .null: write("null")
            case .regex(let value):
                write("{\"$regularExpression\":{\"pattern\":")
                quote(value.pattern)
                write(",\"options\":")
                quote(value.options)
                write("}}")
            case .dbPointer(let value):
                write("{\"$dbPointer\":{\"$ref\":")
                quote(value.namespace)
                write(",\"$id\":")
                wrap("$oid", value.id.hex)
                write("}}")
            case .javaScript(let value):
                write("{\"$code\":")
                quote(value)
                write("}")
            case .symbol(let value):
                write("{\"$symbol\":")
                quote(value)
                write("}")
            case .javaScriptWithScope(let code, let scope):
                write("{\"$code\":")
                quote(code)
                write(",\"$scope\":")
                print(scope, depth: depth + 1)
                write("}")
            case .int32(let value):
                if format == .relaxed { write("\(value)") } else { wrap("$numberInt", "\(value)") }
            case .timestamp(let value):
                write("{\"$timestamp\":{\"t\":\(value.seconds),\"i\":\(value.increment)}}")
            case .int64(let value):
                if format == .relaxed { write("\(value)") } else { wrap("$numberLong", "\(value)") }
            case .decimal128(let value): wrap("$numberDecimal", value.description)
            case .minKey: write("{\"$minKey\":1}")
            case .maxKey: write("{\"$maxKey\":1}")
            }
        }

        private mutating func print(_ value: Double) {
            let text: String
            if value.isNaN {
                text = "NaN"
            } else if value.isInfinite {
                text = value < 0 ? "-Infinity" : "Infinity"
            } else {
                text = "\(value)"
                if format == .relaxed {
                    write(text)
                    return
                }
            }
            wrap("$numberDouble", text)
        }

        private mutating func print(date milliseconds: Int64) {
            if format == .relaxed, let text = ISO8601.string(milliseconds: milliseconds) {
                wrap("$date", text)
            } else {
                write("{\"$date\":{\"$numberLong\":\"\(milliseconds)\"}}")
            }
        }

        private mutating func write(_ text: String) { bytes.append(contentsOf: text.utf8) }

        /// An object with one member whose text needs no escaping.
        private mutating func wrap(_ name: String, _ text: String) { write("{\"\(name)\":\"\(text)\"}") }

        private mutating func quote(_ text: BSONString) {
            bytes.append(UInt8(ascii: "\""))
            for byte in text.utf8 {
                switch byte {
                case UInt8(ascii: "\""): write("\\\"")
                case UInt8(ascii: "\\"): write("\\\\")
                case 0x08: write("\\b")
                case 0x09: write("\\t")
                case 0x0A: write("\\n")
                case 0x0C: write("\\f")
                case 0x0D: write("\\r")
                case 0..<0x20, 0x7F:
                    write("\\u00")
                    write(hexadecimal([byte]))
                default: bytes.append(byte)
                }
            }
            bytes.append(UInt8(ascii: "\""))
        }
    }
}
