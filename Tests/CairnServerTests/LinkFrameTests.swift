import NIOCore
import Testing

@testable import CairnServer

@Suite struct LinkFrameTests {
    private func bytes(_ kind: LinkFrameKind, _ payload: [UInt8]) -> ByteBuffer {
        var buffer = ByteBuffer()
        LinkFrame.append(kind: kind, payload: payload, to: &buffer)
        return buffer
    }

    @Test func framesComeOutInOrderHoweverTheyArrive() throws {
        var stream = bytes(.request, [1, 2, 3])
        var second = bytes(.raft, Array(repeating: 7, count: 1000))
        stream.writeBuffer(&second)
        var arrived = ByteBuffer()
        var kinds: [LinkFrameKind] = []
        while let byte = stream.readInteger(as: UInt8.self) {
            arrived.writeInteger(byte)
            while let frame = try LinkFrame.take(from: &arrived) { kinds.append(frame.kind) }
        }
        #expect(kinds == [.request, .raft])
    }

    @Test func E17_damageUnderAValidLengthIsNoticed() {
        let whole = bytes(.request, [1, 2, 3, 4])
        for index in 4..<whole.readableBytes {
            var damaged = whole
            damaged.setInteger(whole.getInteger(at: index, as: UInt8.self)! ^ 0x40, at: index)
            #expect(throws: LinkFrameError.self) { try LinkFrame.take(from: &damaged) }
        }
    }

    @Test(arguments: [UInt32(0), UInt32(LinkFrame.byteCountMax) + 1, UInt32.max])
    func E17_aLengthThatCannotBeIsRefused(length: UInt32) {
        var buffer = ByteBuffer()
        buffer.writeInteger(length, endianness: .little)
        #expect(throws: LinkFrameError.self) { try LinkFrame.take(from: &buffer) }
    }

    @Test func aHelloOfAnotherProtocolVersionIsRefusedByThatName() throws {
        let hello = LinkHello(purpose: .requests, sender: 1, receiver: 2, folder: 7, cluster: "hill")
        #expect(try LinkHello(parsing: ByteBuffer(bytes: hello.encoded)) == hello)
        var other = hello.encoded
        other[0] = 9
        let error = #expect(throws: LinkRefusal.self) { try LinkHello(parsing: ByteBuffer(bytes: other)) }
        #expect(error?.reason.contains("version 9") == true)
        #expect(throws: LinkRefusal.self) { try LinkHello(parsing: ByteBuffer(bytes: Array(hello.encoded.prefix(10)))) }
    }
}
