import CairnFiles
import Foundation
import Synchronization

/// Where a node gets its master key from.
public enum EncryptionSource: Sendable, Hashable {
    /// A file with 64 hexadecimal digits or 32 bytes.
    case file(String)
    /// The digits themselves; meant for the environment, which other users of the machine cannot read.
    case text(String)
    /// A command line for the shell that prints the digits, such as a key service's client.
    case command(String)

    /// Gets the key.
    ///
    /// - Parameter seconds: How long a command may take; a key service that does not answer must not keep a node from
    ///   saying why it does not start.
    /// - Throws: ``ConfigurationError`` that says which setting gave no key, and why. The key is in no error.
    public func masterKey(commandWithin seconds: Int = 60) throws(ConfigurationError) -> MasterKey {
        let key: String
        do {
            switch self {
            case .file(let path):
                key = "encryption.key-file"
                return try Self.parse(try PosixFileSystem().contents(of: path, limit: 4096), key, source: path)
            case .text(let text):
                key = "encryption.key"
                return try Self.parse(Array(text.utf8), key, source: key)
            case .command(let command):
                key = "encryption.key-command"
                return try Self.parse(
                    try Self.output(of: command, within: seconds), key, source: "the output of '\(command)'")
            }
        } catch let error as FileError {
            throw ConfigurationError(
                key: "encryption", problem: "\(error)", fix: "give a key that `cairn key generate` made")
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(
                key: "encryption.key-command", problem: "\(error)", fix: "try the command in a shell")
        }
    }

    private static func parse(_ bytes: [UInt8], _ key: String, source: String) throws(ConfigurationError) -> MasterKey {
        do throws(FileError) { return try MasterKey(bytes, source: source) } catch {
            throw ConfigurationError(
                key: key, problem: error.reason + " (\(source))", fix: "make one with `cairn key generate`")
        }
    }

    /// The first 4 KiB that the command prints, if it ends well and in time.
    private static func output(of command: String, within seconds: Int) throws -> [UInt8] {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.standardOutput = pipe
        try process.run()
        let reading = pipe.fileHandleForReading
        let result = CommandResult()
        Thread.detachNewThread {
            let output = Result { try reading.read(upToCount: 4096) ?? Data() }
            try? reading.close()
            process.waitUntilExit()
            result.finish(output)
        }
        guard let output = try result.wait(seconds: seconds) else {
            // With what it started, where it has a process group of its own.
            let id = process.processIdentifier
            kill(getpgid(id) == id ? -id : id, SIGKILL)
            throw ConfigurationError(
                key: "encryption.key-command", problem: "'\(command)' has not ended within \(seconds) seconds",
                fix: "try it in a shell")
        }
        guard process.terminationStatus == 0 else {
            throw ConfigurationError(
                key: "encryption.key-command", problem: "'\(command)' ended with \(process.terminationStatus)",
                fix: "try it in a shell")
        }
        return Array(output)
    }
}

/// What a command printed, for the thread that waits for it.
private final class CommandResult: Sendable {
    private let output = Mutex<Result<Data, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    func finish(_ result: Result<Data, any Error>) {
        output.withLock { $0 = result }
        isDone.signal()
    }

    /// Nil when the time is over.
    func wait(seconds: Int) throws -> Data? {
        guard isDone.wait(timeout: .now() + .seconds(seconds)) == .success else { return nil }
        return try output.withLock { $0 }?.get()
    }
}
