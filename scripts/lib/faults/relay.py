"""A slow link: takes TCP connections and hands on what they carry, later and no faster than it is told."""

import asyncio
import threading

CHUNK_BYTES = 16384
# What may be under way before the sender has to wait.
UNDER_WAY_BYTES = 1 << 20


class Relay:
    """Listens on `host` on a free port until `close`, and passes everything on to `target`, both ways."""

    def __init__(self, host, target, delay, bytes_per_second):
        self.target, self.delay, self.bytes_per_second = target, delay, bytes_per_second
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.accept, host, 0), self.loop).result(5)
        self.port = self.server.sockets[0].getsockname()[1]

    def close(self):
        """Ends all connections, and listens no more."""
        async def end():
            self.server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    async def accept(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self.pass_on(reader, far_writer))
                both.create_task(self.pass_on(far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            # At once, as when a link is lost: what is under way is lost with it.
            writer.transport.abort()
            far_writer.transport.abort()

    async def pass_on(self, reader, writer):
        """One direction: each piece leaves `delay` seconds after it came, or when the pieces before it have."""
        line = asyncio.Queue(maxsize=UNDER_WAY_BYTES // CHUNK_BYTES)

        async def take():
            while piece := await reader.read(CHUNK_BYTES):
                await line.put((self.loop.time() + self.delay, piece))
            await line.put((self.loop.time() + self.delay, b""))

        async def give():
            while True:
                moment, piece = await line.get()
                await asyncio.sleep(max(0.0, moment - self.loop.time()))
                if not piece:
                    raise OSError("the other end has closed the connection")
                writer.write(piece)
                await writer.drain()
                if self.bytes_per_second:
                    await asyncio.sleep(len(piece) / self.bytes_per_second)

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())
