import CairnFiles
import CairnRaft

/// Names one transfer among all of a sender's: the term that it belongs to and a number within the sender's life.
struct SnapshotTransfer: Hashable, Sendable {
    var term: Term
    var number: UInt64
}

/// A file of a checkpoint, whose bytes stand behind those of the files before it.
struct SnapshotFile: Hashable, Sendable {
    var name: String
    var byteCount: UInt64

    /// Whether a peer may make us create a file of that name: one level, plain characters, nothing that a shell or a file system reads into.
    static func isSafe(_ name: String) -> Bool {
        guard (1...200).contains(name.utf8.count), !name.hasPrefix(".") else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"): true
            default: false
            }
        }
    }
}

/// What sender and receiver of a snapshot say to each other over the bulk channel.
enum SnapshotMessage: Hashable, Sendable {
    /// Opens a transfer, or repeats that when the receiver does not know it. Files that are encrypted travel as they are, so
    /// the sender's data keys travel with them.
    case begin(SnapshotTransfer, SnapshotMetadata, files: [SnapshotFile], keys: [Keyring.DataKey])
    /// Bytes of one file; `position` counts over all files in the order of `begin`.
    case chunk(SnapshotTransfer, file: UInt32, offset: UInt64, position: UInt64, checksum: UInt32, ArraySlice<UInt8>)
    /// The receiver has everything below `position` and wants what follows.
    case progress(SnapshotTransfer, position: UInt64)
    /// The receiver's end of a transfer.
    case finished(SnapshotTransfer, Outcome)
    /// The sender's end of a transfer that did not get that far.
    case cancel(SnapshotTransfer)

    enum Outcome: UInt8, Hashable, Sendable {
        /// The receiver's tablet is the snapshot.
        case installed = 0
        /// The receiver had at least as much.
        case obsolete = 1
        /// The receiver could not take it: a full disk, damaged content.
        case failed = 2
        /// The receiver does not know the transfer: it restarted, or gave up. Begin again.
        case unknown = 3
    }

    /// Kinds of this family begin here; those below are Raft's own.
    static let firstKind: UInt8 = 128

    private enum Kind: UInt8 {
        case begin = 128
        case chunk = 129
        case progress = 130
        case finished = 131
        case cancel = 132
    }

    var transfer: SnapshotTransfer {
        switch self {
        case .begin(let transfer, _, _, _), .chunk(let transfer, _, _, _, _, _), .progress(let transfer, _),
            .finished(let transfer, _), .cancel(let transfer):
            transfer
        }
    }

    /// Bytes that ``append(to:)`` will need, roughly and never much too few.
    var byteCountHint: Int {
        switch self {
        case .begin(_, let metadata, let files, let keys):
            128 + metadata.configuration.members.count * 32 + files.count * 48 + keys.count * 40
        case .chunk(_, _, _, _, _, let bytes): 64 + bytes.count
        default: 64
        }
    }

    func append(to frame: inout [UInt8]) {
        func head(_ kind: Kind) {
            frame.append(kind.rawValue)
            frame.appendInteger(transfer.term.rawValue)
            frame.appendInteger(transfer.number)
        }
        switch self {
        case .begin(_, let metadata, let files, let keys):
            head(.begin)
            frame.appendInteger(metadata.position.index.rawValue)
            frame.appendInteger(metadata.position.term.rawValue)
            let configuration = metadata.configuration.encoded()
            frame.appendInteger(UInt32(configuration.count))
            frame.append(contentsOf: configuration)
            frame.appendInteger(UInt32(files.count))
            for file in files {
                frame.appendInteger(UInt16(file.name.utf8.count))
                frame.append(contentsOf: file.name.utf8)
                frame.appendInteger(file.byteCount)
            }
            frame.appendInteger(UInt32(keys.count))
            for key in keys {
                frame.appendInteger(key.id)
                frame.append(contentsOf: key.bytes)
            }
        case .chunk(_, let file, let offset, let position, let checksum, let bytes):
            head(.chunk)
            frame.appendInteger(file)
            frame.appendInteger(offset)
            frame.appendInteger(position)
            frame.appendInteger(checksum)
            frame.appendInteger(UInt32(bytes.count))
            frame.append(contentsOf: bytes)
        case .progress(_, let position):
            head(.progress)
            frame.appendInteger(position)
        case .finished(_, let outcome):
            head(.finished)
            frame.append(outcome.rawValue)
        case .cancel:
            head(.cancel)
        }
    }

    init(decoding bytes: ArraySlice<UInt8>) throws(PeerCodecError) {
        var reader = ByteReader(bytes)
        let rawKind = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: rawKind) else {
            throw PeerCodecError(.malformed, "a message of kind \(rawKind), which this version does not know")
        }
        let transfer = SnapshotTransfer(term: Term(rawValue: try reader.integer()), number: try reader.integer())
        switch kind {
        case .begin:
            let index = LogIndex(rawValue: try reader.integer())
            let term = Term(rawValue: try reader.integer())
            let configurationBytes = Int(try reader.integer(UInt32.self))
            guard let configuration = Configuration(decoding: try reader.slice(configurationBytes)) else {
                throw PeerCodecError(.malformed, "a snapshot without a configuration")
            }
            let fileCount = try reader.count(bytesEach: 11)
            var files: [SnapshotFile] = []
            files.reserveCapacity(fileCount)
            var names: Set<String> = []
            for _ in 0..<fileCount {
                let nameBytes = Int(try reader.integer(UInt16.self))
                guard let name = String(validating: try reader.slice(nameBytes), as: UTF8.self),
                    SnapshotFile.isSafe(name), names.insert(name).inserted
                else { throw PeerCodecError(.malformed, "a snapshot file's name is refused") }
                files.append(SnapshotFile(name: name, byteCount: try reader.integer()))
            }
            let keyCount = try reader.count(bytesEach: 8 + Keyring.DataKey.byteCount)
            var keys: [Keyring.DataKey] = []
            for _ in 0..<keyCount {
                keys.append(
                    Keyring.DataKey(
                        id: try reader.integer(), bytes: Array(try reader.slice(Keyring.DataKey.byteCount))))
            }
            self = .begin(
                transfer,
                SnapshotMetadata(
                    position: LogPosition(term: term, index: index), configuration: configuration),
                files: files, keys: keys)
        case .chunk:
            let file: UInt32 = try reader.integer()
            let offset: UInt64 = try reader.integer()
            let position: UInt64 = try reader.integer()
            let checksum: UInt32 = try reader.integer()
            let count = Int(try reader.integer(UInt32.self))
            self = .chunk(
                transfer, file: file, offset: offset, position: position, checksum: checksum, try reader.slice(count))
        case .progress:
            self = .progress(transfer, position: try reader.integer())
        case .finished:
            let raw = try reader.integer(UInt8.self)
            guard let outcome = Outcome(rawValue: raw) else {
                throw PeerCodecError(.malformed, "snapshot outcome \(raw)")
            }
            self = .finished(transfer, outcome)
        case .cancel:
            self = .cancel(transfer)
        }
        try reader.end()
    }
}
