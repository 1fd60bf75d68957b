import COpenSSL
import CShortSeal
import Synchronization

/// AES-256-GCM (NIST SP 800-38D) under a key that belongs to one file, by the system's libcrypto.
///
/// A key is never used for two files, because 128 random bits of the file go into it, and a place in the file is sealed
/// once, because a life of a file is written from front to back: so a nonce that has the place in it is never used twice.
/// Key and nonce also bind what is sealed to its file, its place, and what else the owner puts into the nonce; so nothing
/// is left for associated data, which would cost a call into libcrypto for every record.
public final class FileCipher: Sendable {
    /// Which data key of the keyring the file's key was derived from, and the file's salt: what a file says in the clear.
    public struct Label: Hashable, Sendable {
        public var keyID: UInt64
        public var salt: UInt64

        public init(keyID: UInt64, salt: UInt64) {
            self.keyID = keyID
            self.salt = salt
        }

        /// A file that is not encrypted. No data key has the id 0.
        public static let none = Label(keyID: 0, salt: 0)
    }

    /// Twelve bytes: eight of one number and four of another. One of them is the place, or stands for it.
    public struct Nonce: Hashable, Sendable {
        public var wide: UInt64
        public var narrow: UInt32

        public init(_ wide: UInt64, _ narrow: UInt32) {
            self.wide = wide
            self.narrow = narrow
        }
    }

    /// Bytes that sealing adds.
    public static let tagBytes = 16

    public let label: Label
    private let key: [UInt8]
    private let opening: Contexts
    private let use: DataKeyUse?

    init(_ label: Label, key: [UInt8], use: DataKeyUse? = nil) {
        precondition(key.count == 32, "a file's key of \(key.count) bytes")
        self.label = label
        self.key = key
        self.use = use
        opening = Contexts(key)
    }

    /// What one writer seals with.
    public func makeSealer() -> Sealer { Sealer(label: label, key: key, use: use) }

    /// Seals for one writer; only its owner may use it.
    public final class Sealer: Sendable {
        public let label: Label
        private let short: ShortSeal
        private let long: GCMContext
        private let use: DataKeyUse?

        fileprivate init(label: Label, key: [UInt8], use: DataKeyUse?) {
            self.label = label
            self.use = use
            short = ShortSeal(key)
            long = GCMContext(key, encrypts: true)
        }

        /// Seals what stands in `bytes` from `start` on, in place, and appends the tag.
        public func seal(_ bytes: inout [UInt8], from start: Int, _ nonce: Nonce) {
            let count = bytes.count - start
            let room: (UInt64, UInt64) = (0, 0)
            unsafe withUnsafeBytes(of: room) { unsafe bytes.append(contentsOf: $0) }
            unsafe bytes.withUnsafeMutableBytes { buffer in
                // Safety: `count` bytes from `start` on and as many as a tag has behind them were there or just made.
                let text = unsafe (buffer.baseAddress! + start).assumingMemoryBound(to: UInt8.self)
                if count <= ShortSeal.bytesMax {
                    unsafe short.seal(text, count, tag: text + count, nonce)
                } else {
                    unsafe long.seal(text, count, tag: text + count, nonce)
                }
            }
        }
    }

    /// What `sealed` says, or nil if it was not sealed under this key with the same nonce. Any thread may ask.
    public func open(_ sealed: RawSpan, _ nonce: Nonce) -> [UInt8]? {
        let count = sealed.byteCount - Self.tagBytes
        guard count >= 0 else { return nil }
        var isGenuine = false
        let text = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            unsafe sealed.withUnsafeBytes { source in
                // Safety: `count` bytes and a tag are there; the buffer has room for `count`.
                let input = unsafe source.baseAddress!.assumingMemoryBound(to: UInt8.self)
                isGenuine = opening.borrow { context in
                    unsafe context.open(input, count, into: buffer.baseAddress, tag: input + count, nonce)
                }
            }
            initialized = isGenuine ? count : 0
        }
        return isGenuine ? text : nil
    }
}

/// Contexts with the key already expanded. As many as threads use one at once.
private final class Contexts: Sendable {
    private let idle = Mutex<[GCMContext]>([])
    private let key: [UInt8]

    init(_ key: [UInt8]) { self.key = key }

    @inline(__always)
    func borrow<Result>(_ body: (GCMContext) -> Result) -> Result {
        let context = idle.withLock { $0.popLast() } ?? GCMContext(key, encrypts: false)
        defer { idle.withLock { $0.append(context) } }
        return body(context)
    }
}

extension FileCipher.Nonce {
    /// The twelve bytes that GCM takes.
    @inline(__always)
    fileprivate func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
        let bytes = (wide.littleEndian, narrow.littleEndian)
        // Safety: twelve bytes without gaps, as the layout of a pair with the wider number first is.
        return unsafe withUnsafeBytes(of: bytes) { unsafe body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    }
}

/// One expanded key for texts so short that what EVP does around a text would cost more than the text: nearly every record
/// of a log. What it makes is what ``GCMContext`` makes.
///
// Safety: `@unchecked Sendable`, because one sealer alone has it, and only the sealer's owner uses that: never two threads at
// once. The pointer is made in `init`, freed in `deinit`, and leaves this class nowhere.
@safe
private final class ShortSeal: @unchecked Sendable {
    static let bytesMax = Int(CAIRN_SHORT_SEAL_MAX)
    private let seal: OpaquePointer

    init(_ key: [UInt8]) {
        guard let seal = unsafe cairn_short_seal_new(key) else { preconditionFailure("libcrypto has no AES-256") }
        unsafe self.seal = seal
    }

    deinit { unsafe cairn_short_seal_free(seal) }

    func seal(
        _ text: UnsafeMutablePointer<UInt8>, _ count: Int, tag: UnsafeMutablePointer<UInt8>, _ nonce: FileCipher.Nonce
    ) {
        let status = unsafe nonce.withBytes { unsafe cairn_short_seal_apply(seal, text, count, $0, tag) }
        precondition(status == 1, "libcrypto did not seal \(count) bytes")
    }
}

/// One expanded key.
///
/// Safety (`@unchecked Sendable`): a sealer's belongs to the sealer's owner; whoever has taken one out of ``Contexts`` is the
/// only one to use it until it is put back.
@safe
private final class GCMContext: @unchecked Sendable {
    private let context: OpaquePointer

    init(_ key: [UInt8], encrypts: Bool) {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        unsafe self.context = context
        let status = unsafe EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nil, key, nil, encrypts ? 1 : 0)
        precondition(status == 1, "libcrypto has no AES-256-GCM")
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    private func begin(_ nonce: FileCipher.Nonce) {
        let status = unsafe nonce.withBytes { unsafe EVP_CipherInit_ex(context, nil, nil, nil, $0, -1) }
        precondition(status == 1, "libcrypto refused a nonce")
    }

    func seal(
        _ text: UnsafeMutablePointer<UInt8>, _ count: Int, tag: UnsafeMutablePointer<UInt8>, _ nonce: FileCipher.Nonce
    ) {
        begin(nonce)
        var produced: Int32 = 0
        var status = unsafe EVP_CipherUpdate(context, text, &produced, text, Int32(count))
        precondition(status == 1 && Int(produced) == count, "libcrypto sealed \(produced) bytes of \(count)")
        status = unsafe EVP_CipherFinal_ex(context, tag, &produced)
        precondition(status == 1, "libcrypto did not finish")
        status = unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(FileCipher.tagBytes), tag)
        precondition(status == 1, "libcrypto gave no tag")
    }

    func open(
        _ sealed: UnsafePointer<UInt8>, _ count: Int, into text: UnsafeMutablePointer<UInt8>?,
        tag: UnsafePointer<UInt8>, _ nonce: FileCipher.Nonce
    ) -> Bool {
        begin(nonce)
        var produced: Int32 = 0
        if count > 0 {
            guard unsafe EVP_CipherUpdate(context, text, &produced, sealed, Int32(count)) == 1 else { return false }
        }
        let expected = unsafe UnsafeMutableRawPointer(mutating: UnsafeRawPointer(tag))
        guard unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(FileCipher.tagBytes), expected) == 1
        else { return false }
        var rest: (UInt64, UInt64) = (0, 0)
        return unsafe withUnsafeMutableBytes(of: &rest) {
            unsafe EVP_CipherFinal_ex(context, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), &produced) == 1
        }
    }
}

/// Bytes that nobody can guess, and keys made of keys.
enum KeyMaterial {
    /// `count` bytes from the system's random source.
    static func random(_ count: Int) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let status = unsafe RAND_bytes(buffer.baseAddress, Int32(count))
            precondition(status == 1, "libcrypto has no randomness")
            initialized = count
        }
    }

    static func randomNumber() -> UInt64 {
        random(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// HKDF-SHA-256 (RFC 5869): 32 bytes from `key`, different for every `salt` and `info`.
    static func derive(from key: [UInt8], salt: [UInt8], info: [UInt8]) -> [UInt8] {
        guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil) else {
            preconditionFailure("libcrypto has no HKDF")
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var count = 32
        let derived = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let steps = unsafe [
                EVP_PKEY_derive_init(context),
                EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()),
                EVP_PKEY_CTX_set1_hkdf_salt(context, salt, Int32(salt.count)),
                EVP_PKEY_CTX_set1_hkdf_key(context, key, Int32(key.count)),
                EVP_PKEY_CTX_add1_hkdf_info(context, info, Int32(info.count)),
                EVP_PKEY_derive(context, buffer.baseAddress, &count),
            ]
            let isDone = steps.allSatisfy { $0 == 1 }
            precondition(isDone && count == 32, "libcrypto derived no key")
            initialized = count
        }
        return derived
    }
}
