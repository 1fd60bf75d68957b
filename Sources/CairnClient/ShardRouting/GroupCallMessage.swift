import CairnDatabase
import CairnReplication
import CairnWire

/// The message of the command `{cairnGroupCall: <request bytes>, group: <number>, $db: "admin"}`, written in one piece: the
/// request goes into it without a document, a binary value and a message of its own in between, each of which would copy it.
enum GroupCallMessage {
    static func encoded(_ request: GroupRequest, to group: GroupID, requestID: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(request.encodedBytesMax + 128)
        MessageHeader(requestID: requestID, responseTo: 0, opCode: .message).append(to: &bytes)
        bytes.appendInt32(0)
        // A section of kind 0: the body.
        bytes.append(0)
        let bodyAt = bytes.count
        bytes.appendInt32(0)
        bytes.append(0x05)
        bytes.append(contentsOf: "cairnGroupCall\0".utf8)
        let lengthAt = bytes.count
        bytes.appendInt32(0)
        bytes.append(0)
        let requestAt = bytes.count
        request.append(to: &bytes)
        bytes.replaceInt32(at: lengthAt, with: Int32(bytes.count - requestAt))
        bytes.append(0x12)
        bytes.append(contentsOf: "group\0".utf8)
        bytes.appendInt32(Int32(bitPattern: group.rawValue))
        bytes.appendInt32(0)
        bytes.append(0x02)
        bytes.append(contentsOf: "$db\0".utf8)
        bytes.appendInt32(6)
        bytes.append(contentsOf: "admin\0".utf8)
        bytes.append(0)
        bytes.replaceInt32(at: bodyAt, with: Int32(bytes.count - bodyAt))
        bytes.replaceInt32(at: 0, with: Int32(bytes.count))
        return bytes
    }
}
