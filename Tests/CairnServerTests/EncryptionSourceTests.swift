import CairnFiles
import CairnServer
import Testing

/// A node gets its master key from a command, or says why not.
@Suite struct EncryptionSourceTests {
    @Test func aCommandsOutputIsTheKey() throws {
        _ = try EncryptionSource.command("echo \(MasterKey.generate())").masterKey()
    }

    @Test(arguments: [
        ("false", "ended with 1"), ("echo no key", "64 hexadecimal digits"), ("exec /nowhere/kms", "ended with"),
    ])
    func aCommandWithoutAKeySaysWhy(command: String, reason: String) {
        let error = #expect(throws: ConfigurationError.self) { try EncryptionSource.command(command).masterKey() }
        #expect(error?.key == "encryption.key-command")
        #expect(error?.problem.contains(reason) == true, "\(String(describing: error))")
    }

    @Test func aCommandThatHangsIsGivenUp() {
        let start = ContinuousClock.now
        let error = #expect(throws: ConfigurationError.self) {
            try EncryptionSource.command("sleep 20; true").masterKey(commandWithin: 1)
        }
        #expect(error?.problem == "'sleep 20; true' has not ended within 1 seconds")
        #expect(ContinuousClock.now - start < .seconds(15))
    }
}
