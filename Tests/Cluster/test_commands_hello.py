"""How drivers watch a node: `hello`, answered at once, on news, or as a stream."""

import socket
import struct
import threading
import time

import bson
import pytest
from bson import Int64, ObjectId
from pymongo.monitoring import ServerHeartbeatListener
from conftest import Cluster

MORE_TO_COME, EXHAUST_ALLOWED = 1 << 1, 1 << 16


class Wire:
    """A connection that speaks OP_MSG itself."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.number = 0

    def send(self, command, flags=0):
        self.number += 1
        body = bson.encode({**command, "$db": "admin"})
        self.socket.sendall(struct.pack("<iiiiI", 21 + len(body), self.number, 0, 2013, flags) + b"\0" + body)
        return self.number

    def take(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        """(reply, flags, its number, the number that it answers)"""
        length, number, answered, _, flags = struct.unpack("<iiiiI", self.take(20))
        return bson.decode(self.take(length - 20)[1:]), flags, number, answered

    def ask(self, command):
        self.send(command)
        return self.receive()[0]

    def close(self):
        self.socket.close()


@pytest.fixture
def wire(shared_cluster):
    wire = Wire(shared_cluster.addresses[0])
    yield wire
    wire.close()


def test_hello_says_what_drivers_ask(wire, shared_cluster):
    reply = wire.ask({"hello": 1, "helloOk": True})
    assert reply["helloOk"] is True
    assert reply["isWritablePrimary"] is True
    assert (reply["minWireVersion"], reply["maxWireVersion"]) == (0, 25)
    assert isinstance(reply["topologyVersion"]["processId"], ObjectId)
    assert reply["topologyVersion"]["counter"] == 0
    again = Wire(shared_cluster.addresses[0])
    assert again.ask({"isMaster": 1})["topologyVersion"] == reply["topologyVersion"]
    other = Wire(shared_cluster.addresses[1])
    assert other.ask({"hello": 1})["topologyVersion"]["processId"] != reply["topologyVersion"]["processId"]
    again.close()
    other.close()


def test_hello_waits_as_long_as_it_is_told_when_there_is_no_news(wire):
    known = wire.ask({"hello": 1})["topologyVersion"]
    begin = time.monotonic()
    reply = wire.ask({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 400})
    assert 0.39 < time.monotonic() - begin < 5
    assert reply["topologyVersion"] == known


def test_hello_does_not_wait_for_one_who_knows_another_process(wire):
    begin = time.monotonic()
    reply = wire.ask({"hello": 1, "topologyVersion": {"processId": ObjectId(), "counter": Int64(7)}, "maxAwaitTimeMS": 30000})
    assert reply["ok"] == 1
    assert time.monotonic() - begin < 5


def test_waits_that_make_no_sense_are_refused(wire):
    known = wire.ask({"hello": 1})["topologyVersion"]
    assert wire.ask({"hello": 1, "topologyVersion": known})["code"] == 31368
    assert wire.ask({"hello": 1, "maxAwaitTimeMS": 100})["code"] == 31368
    assert wire.ask({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": -1})["code"] == 31373
    ahead = {"processId": known["processId"], "counter": Int64(5)}
    assert wire.ask({"hello": 1, "topologyVersion": ahead, "maxAwaitTimeMS": 100})["code"] == 51764
    behind = {"processId": known["processId"], "counter": Int64(-1)}
    assert wire.ask({"hello": 1, "topologyVersion": behind, "maxAwaitTimeMS": 100})["code"] == 31372


def test_a_stream_of_hellos(wire):
    known = wire.ask({"hello": 1})["topologyVersion"]
    first = wire.send({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 150}, EXHAUST_ALLOWED)
    expected = first
    begin = time.monotonic()
    for _ in range(4):
        reply, flags, number, answered = wire.receive()
        assert reply["ok"] == 1
        assert flags & MORE_TO_COME
        assert answered == expected
        expected = number
    assert 0.5 < time.monotonic() - begin < 5


def test_a_stream_is_not_faster_than_it_may_be(wire):
    known = wire.ask({"hello": 1})["topologyVersion"]
    wire.send({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 0}, EXHAUST_ALLOWED)
    begin = time.monotonic()
    for _ in range(6):
        wire.receive()
    assert time.monotonic() - begin > 0.45


def test_without_a_topology_version_there_is_no_stream(wire):
    wire.send({"hello": 1}, EXHAUST_ALLOWED)
    assert wire.receive()[1] & MORE_TO_COME == 0
    assert wire.ask({"ping": 1})["ok"] == 1


def test_an_error_ends_a_stream(wire, shared_cluster):
    known = wire.ask({"hello": 1, "client": {"application": {"name": "watcher"}}})["topologyVersion"]
    node = shared_cluster.node(1)
    wire.send({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 200}, EXHAUST_ALLOWED)
    assert wire.receive()[1] & MORE_TO_COME
    node.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {"failCommands": ["hello"], "errorCode": 91, "appName": "watcher"}})
    flags = MORE_TO_COME
    while flags & MORE_TO_COME:
        reply, flags, _, _ = wire.receive()
    assert reply["code"] == 91
    assert wire.ask({"ping": 1})["ok"] == 1


class Heartbeats(ServerHeartbeatListener):
    def __init__(self):
        self.awaited = 0

    def started(self, event):
        pass

    def succeeded(self, event):
        self.awaited += event.awaited

    def failed(self, event):
        pass


def test_a_driver_watches_by_stream(shared_cluster):
    beats = Heartbeats()
    client = shared_cluster.node(1, event_listeners=[beats], heartbeatFrequencyMS=500)
    client.admin.command("ping")
    deadline = time.monotonic() + 10
    while beats.awaited < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert beats.awaited >= 3


def test_a_node_that_shuts_down_tells_those_who_wait():
    cluster = Cluster(nodes=1)
    try:
        cluster.up()
        wires = [Wire(cluster.addresses[0]) for _ in range(200)]
        known = wires[0].ask({"hello": 1})["topologyVersion"]
        for wire in wires:
            wire.send({"hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 60000}, EXHAUST_ALLOWED)
        time.sleep(0.3)
        stopper = threading.Thread(target=lambda: cluster.run("stop", 1, check=False))
        begin = time.monotonic()
        stopper.start()
        for wire in wires:
            reply, flags, _, _ = wire.receive()
            assert reply["code"] == 91
            assert reply["topologyVersion"] == {"processId": known["processId"], "counter": 1}
            assert flags & MORE_TO_COME == 0
        assert time.monotonic() - begin < 10
        stopper.join()
    finally:
        cluster.remove()
