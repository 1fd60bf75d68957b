"""Commands without a driver: one at a time on a connection, sent when one likes, and answered when the node can."""

import contextlib
import socket
import struct
import time

import bson

OP_MSG = 2013


class Connection:
    """To one node."""

    def __init__(self, address, seconds):
        host, port = address.split(":")
        self.address, self.received = address, b""
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)

    def fileno(self):
        return self.socket.fileno()

    def send(self, command, database):
        body = bson.encode({**command, "$db": database})
        self.socket.sendall(struct.pack("<iiiiI", 21 + len(body), 1, 0, OP_MSG, 0) + b"\0" + body)

    def receive(self, deadline):
        """The reply, or None if the node has closed the connection. Raises OSError if it is not there in time."""
        while len(self.received) < 4 or len(self.received) < struct.unpack("<i", self.received[:4])[0]:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            if not (piece := self.socket.recv(65536)):
                return None
            self.received += piece
        reply, self.received = self.received, b""
        return bson.decode(reply[21:])

    def close(self):
        self.socket.close()


def ask(address, command, seconds=2.0, database="admin"):
    """Sends one command over a connection of its own and returns the reply, or None if there is none in time."""
    deadline = time.monotonic() + seconds
    try:
        with contextlib.closing(Connection(address, seconds)) as connection:
            connection.send(command, database)
            return connection.receive(deadline)
    except (OSError, bson.errors.BSONError):
        return None
