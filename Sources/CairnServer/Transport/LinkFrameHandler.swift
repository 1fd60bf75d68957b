import NIOCore

/// Cuts a peer connection's bytes into frames and hands them on, on the channel's event loop.
final class LinkFrameHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var pending = ByteBuffer()
    private let onFrame: (LinkFrame, any Channel) throws -> Void
    private let onClose: ((any Error)?) -> Void
    private var failure: (any Error)?

    /// - Parameters:
    ///   - onFrame: called for each frame in order; what it throws closes the connection.
    ///   - onClose: called once, with the reason when there is one.
    init(
        onFrame: @escaping (LinkFrame, any Channel) throws -> Void, onClose: @escaping ((any Error)?) -> Void
    ) {
        self.onFrame = onFrame
        self.onClose = onClose
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
            pending.writeBuffer(&bytes)
        }
        do {
            while let frame = try LinkFrame.take(from: &pending) { try onFrame(frame, context.channel) }
            if pending.readableBytes == 0 { pending = ByteBuffer() } else { pending.discardReadBytes() }
        } catch {
            failure = error
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        onClose(failure)
        context.fireChannelInactive()
    }
}
