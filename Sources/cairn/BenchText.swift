import CairnBSON

/// Makes documents of 1 KiB: an `_id` and ten fields of plain words, always the same for a seed.
struct BenchText {
    private static let words = [
        "amber", "basalt", "boulder", "bridge", "canyon", "cliff", "cloud", "copper", "crystal", "delta", "drift",
        "ember",
        "feldspar", "flint", "forest", "garnet", "glacier", "gneiss", "granite", "gravel", "harbor", "heather",
        "island",
        "jasper", "kelp", "lagoon", "lichen", "limestone", "marble", "meadow", "mica", "moraine", "moss", "mountain",
        "obsidian",
        "onyx", "opal", "pebble", "pine", "plateau", "pumice", "quartz", "ridge", "river", "sandstone", "schist",
        "shale",
        "slate", "spring", "summit", "talus", "thicket", "thunder", "topaz", "tundra", "valley", "waterfall", "willow",
        "winter",
        "zircon", "path", "stone", "marker", "north",
    ].map { Array($0.utf8) }
    private static let fieldBytes = 91
    private var generator: SplitMix64

    init(seed: UInt64) { generator = SplitMix64(state: seed) }

    /// A text of exactly as many bytes as make the document 1 KiB.
    mutating func field() -> BSONString {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.fieldBytes + 16)
        while bytes.count < Self.fieldBytes {
            var draw = generator.next()
            for _ in 0..<8 {
                bytes.append(contentsOf: Self.words[Int(draw & 63)])
                bytes.append(0x20)
                draw >>= 6
            }
            // A number keeps texts from being mere repetitions of the list.
            bytes.append(contentsOf: String(draw & 0xFFFF, radix: 16).utf8)
            bytes.append(0x20)
        }
        bytes.removeLast(bytes.count - Self.fieldBytes)
        return BSONString(String(decoding: bytes, as: UTF8.self))
    }

    mutating func document(id: Value?) -> Document {
        var builder = DocumentBuilder()
        if let id { builder.append("_id", id) }
        for index in 0..<10 { builder.append("field\(index)", .string(field())) }
        return builder.finish()
    }
}

/// A small generator with a seed, so that runs are alike.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
