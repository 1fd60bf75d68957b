/// Steps over the elements of one frame by pointer: where an element, its name and its value begin and end.
///
/// All positions are offsets from the start of the frame. Each step checks that the whole element lies before the
/// frame's last byte; a walker that meets damage behaves as if the frame ended there.
///
/// Safety: it lives inside the closure that lends the buffer, and `advance` leaves only offsets that were compared with
/// `end`, so everything read through it lies in the buffer.
@safe
struct ElementWalker {
    let base: UnsafeRawPointer
    /// The offset of the frame's closing zero byte: no element reaches beyond it.
    let end: Int

    /// The current element's type byte.
    private(set) var start = 4
    /// The zero byte after the name.
    private(set) var nameEnd = 4
    /// The first byte behind the value.
    private(set) var valueEnd = 4
    private(set) var type: UInt8 = 0

    @inline(__always)
    init(_ frame: UnsafeRawBufferPointer) {
        if let base = frame.baseAddress, frame.count >= 5 {
            unsafe self.base = base
            end = frame.count &- 1
        } else {
            unsafe self.base = Self.nowhere
            end = 0
        }
    }

    /// Never read from: it stands in for the base of a frame that is too short to have elements.
    private static var nowhere: UnsafeRawPointer { unsafe UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped }

    @inline(__always)
    var nameStart: Int { start &+ 1 }
    @inline(__always)
    var nameCount: Int { nameEnd &- start &- 1 }
    @inline(__always)
    var valueStart: Int { nameEnd &+ 1 }

    /// Makes the element at `position` the next one.
    @inline(__always)
    mutating func resume(at position: Int) { valueEnd = position }

    /// Goes to the next element; false at the end, or where something does not fit.
    @inline(__always)
    mutating func advance() -> Bool {
        let start = valueEnd
        guard start < end else { return false }
        let type = unsafe base.load(fromByteOffset: start, as: UInt8.self)
        let nameEnd = zero(from: start &+ 1)
        guard nameEnd < end else { return false }
        let length = valueLength(of: type, at: nameEnd &+ 1)
        guard length >= 0, length <= end &- nameEnd &- 1 else { return false }
        self.start = start
        self.type = type
        self.nameEnd = nameEnd
        self.valueEnd = nameEnd &+ 1 &+ length
        return true
    }

    /// Goes to the next element that has this name; false if there is none.
    @inline(__always)
    mutating func advance(toName name: UnsafeRawBufferPointer) -> Bool {
        while advance() {
            if nameCount == name.count, unsafe nameIs(name) { return true }
        }
        return false
    }

    /// True if the current name is those bytes.
    @inline(__always)
    func nameIs(_ name: UnsafeRawBufferPointer) -> Bool {
        guard nameCount == name.count else { return false }
        guard let other = name.baseAddress else { return true }
        return unsafe bytesAreEqual(base + nameStart, other, count: name.count)
    }

    /// The first zero byte at or after `position`, or something not below `end`.
    ///
    /// Looks at eight bytes at a time: subtracting one from every byte borrows first at the lowest zero.
    @inline(__always)
    func zero(from position: Int) -> Int {
        var position = position
        while position &+ 8 <= end {
            let word = UInt64(littleEndian: unsafe base.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            let zeros = (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
            if zeros != 0 { return position &+ zeros.trailingZeroBitCount &>> 3 }
            position &+= 8
        }
        while position < end, unsafe base.load(fromByteOffset: position, as: UInt8.self) != 0 { position &+= 1 }
        return position
    }

    /// A little-endian length field, or -1 if it is not inside the frame.
    @inline(__always)
    func int32(at position: Int) -> Int {
        guard position &+ 4 <= end else { return -1 }
        return Int(Int32(littleEndian: unsafe base.loadUnaligned(fromByteOffset: position, as: Int32.self)))
    }

    /// The bytes that a value of this type takes according to its own length field, or -1 for nonsense.
    @inline(__always)
    func valueLength(of type: UInt8, at position: Int) -> Int {
        switch type {
        case 0x02, 0x0D, 0x0E:
            let length = int32(at: position)
            return length >= 1 ? length &+ 4 : -1
        case 0x10: return 4
        case 0x01, 0x09, 0x11, 0x12: return 8
        case 0x03, 0x04:
            let length = int32(at: position)
            return length >= 5 ? length : -1
        case 0x06, 0x0A, 0x7F, 0xFF: return 0
        case 0x07: return 12
        case 0x08: return 1
        case 0x05:
            let length = int32(at: position)
            return length >= 0 ? length &+ 5 : -1
        case 0x0B:
            let patternEnd = zero(from: position)
            guard patternEnd < end else { return -1 }
            let optionsEnd = zero(from: patternEnd &+ 1)
            guard optionsEnd < end else { return -1 }
            return optionsEnd &+ 1 &- position
        case 0x0C:
            let length = int32(at: position)
            return length >= 1 ? length &+ 16 : -1
        case 0x0F:
            let length = int32(at: position)
            return length >= 14 ? length : -1
        case 0x13: return 16
        default: return -1
        }
    }

    /// Reads the current value; slices of it share the storage of `bytes`, which is the frame that is walked.
    @inline(__always)
    func value(in bytes: ArraySlice<UInt8>) -> Value {
        unsafe Value(type: type, base: base, from: valueStart, to: valueEnd, in: bytes)
    }
}
