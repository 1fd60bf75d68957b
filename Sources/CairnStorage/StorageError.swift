import CairnFiles

/// What went wrong in the storage engine, and where.
public struct StorageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the caller can do about it, which is all that a `switch` should ask.
    public enum Code: Hashable, Sendable {
        /// Bytes on the disk are not what was written. The replica has to be rebuilt from others; retrying does not help.
        case corruption
        /// The disk refused a read or a write.
        case io
        /// There is no room. Nothing was lost, and the same call succeeds once there is.
        case outOfSpace
        /// A sync failed at some time, so what the kernel holds is unknown. The engine takes no more writes: end the
        /// process and let recovery decide by what the disk really has.
        case failed
        /// The engine was closed.
        case closed
        /// Another engine has the directory open.
        case locked
        /// The directory or a file was written by a format that this program does not know.
        case unsupportedFormat
        /// The directory or a file is encrypted with a key that is not at hand. Nothing was touched.
        case wrongKey
        /// The version asked for lies below the history horizon, so parts of it may be gone.
        case versionTooOld
        /// The call breaks a rule of the interface: a batch that does not decode, a version or mark that goes back.
        case invalidArgument
        /// The directory holds no engine and the options said not to create one, or holds one where none was wanted.
        case notFound
        /// A read that may only look into memory came to something that is on the disk: a table that nobody has opened, a
        /// block that is not in the cache. Nothing is wrong; the same read in mode ``ReadMode/any`` answers.
        case wouldNeedDisk
    }

    public let code: Code
    public let message: String
    /// The file at fault, if one is.
    public let file: String?
    /// The first bad byte, counted from the start of the file, when one is known.
    public let offset: UInt64?

    public init(_ code: Code, _ message: String, file: String? = nil, offset: UInt64? = nil) {
        self.code = code
        self.message = message
        self.file = file
        self.offset = offset
    }

    public var description: String {
        var text = "\(code): \(message)"
        if let file { text += " [\(file)" + (offset.map { " at byte \($0)" } ?? "") + "]" }
        return text
    }
}

extension StorageError {
    /// What a failure of the file system means to the engine.
    init(_ error: FileError) {
        let code: Code
        switch error.code {
        // After a failed sync nobody knows what is on the disk. A full device that refuses a name is only full.
        case _ where error.operation == .synchronize: code = .failed
        case .io where error.operation == .synchronizeDirectory: code = .failed
        case .outOfSpace: code = .outOfSpace
        case .locked: code = .locked
        case .unsupported: code = .unsupportedFormat
        case .wrongKey: code = .wrongKey
        // A file that the manifest names and that is missing or short is as damaged as one with flipped bits.
        case .corruption, .truncated, .tooLarge, .notFound: code = .corruption
        case .io, .exists: code = .io
        }
        // The place is carried apart, and what decoding found wrong says all.
        var message = error.reason
        if error.operation != .decode || message.isEmpty {
            message =
                "\(error.operation.rawValue): \(error.code.rawValue)" + (message.isEmpty ? "" : " (\(message))")
        }
        self.init(code, message, file: error.path, offset: error.offset)
    }
}

/// Runs `body` and turns a failure of the file system into the engine's error.
@inline(__always)
func mappingFileErrors<Result>(_ body: () throws(FileError) -> Result) throws(StorageError) -> Result {
    do throws(FileError) {
        return try body()
    } catch {
        throw StorageError(error)
    }
}
