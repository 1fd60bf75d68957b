"""Readers who do not wait for each other."""

import select

import bson

from faults.history import OK, UNKNOWN, Operation, now
from faults.wire import Connection
from faults.workload import DATABASE

CONNECTIONS_EACH = 12
EVERY_SECONDS = 0.04
PATIENCE_SECONDS = 10.0


class Crowd:
    """Reads single documents at random nodes, a few dozen times a second, and takes the answers as they come.

    When a node stands still, other clients are soon all waiting for it. Here reads go on, so that some wait in its sockets that
    began long after it stopped, over connections that it knows already: what it says to them when it goes on is what it believes
    before it has heard of anything that happened meanwhile.
    """

    def __init__(self, client):
        self.client, self.waiting, self.next = client, {}, 0.0
        self.idle = {address: [] for address in client.all_addresses()}
        for address, connections in self.idle.items():
            while len(connections) < CONNECTIONS_EACH and (connection := self.connect(address)):
                connections.append(connection)

    @staticmethod
    def connect(address):
        try:
            return Connection(address, 1.0)
        except OSError:
            return None

    def act(self, collection, key, value_of):
        """Asks for one more document if it is time, and takes the answers that have come."""
        moment = now()
        if moment >= self.next:
            self.next = moment + EVERY_SECONDS
            self.ask(collection, key)
        for connection in select.select(list(self.waiting), [], [], 0)[0]:
            self.take(connection, value_of)
        for connection, (key, began) in list(self.waiting.items()):
            if moment - began > PATIENCE_SECONDS:
                self.end(connection)

    def ask(self, collection, key):
        address = self.client.random.choice(self.client.all_addresses())
        idle = self.idle.setdefault(address, [])
        # The one that has rested longest, so that each is in use now and then.
        if not (connection := idle.pop(0) if idle else self.connect(address)):
            return
        self.waiting[connection] = key, now()
        try:
            connection.send({"find": collection, "filter": {"_id": key}, "limit": 1, "singleBatch": True}, DATABASE)
        except OSError:
            self.end(connection)

    def take(self, connection, value_of):
        try:
            reply = connection.receive(now() + 1.0)
        except (OSError, bson.errors.BSONError):
            reply = None
        if not reply or reply.get("ok") != 1:
            return self.end(connection)
        found = reply["cursor"]["firstBatch"]
        self.record(connection, value_of(found[0] if found else {}), OK)
        self.idle[connection.address].append(connection)

    def end(self, connection):
        self.record(connection, None, UNKNOWN)
        connection.close()

    def record(self, connection, value, outcome):
        key, began = self.waiting.pop(connection)
        self.client.recorder.write(Operation(self.client.name, "read", key, None, value, outcome, began, now()))
