"""Real clusters for tests: started by scripts/cluster in a folder and on ports of their own, gone afterwards."""

import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import bson
import pytest
from pymongo import MongoClient

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_base_port():
    """A base port for which all ports that a cluster of five needs are free, below those that outgoing connections get."""
    for _ in range(200):
        base = random.randrange(20000, 31000)
        try:
            for offset in [*range(5), *range(100, 105), *range(1000, 1005)]:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


def raw_command(address, command):
    """Sends one command as OP_MSG over a connection of its own and returns the reply."""
    host, port = address.split(":")
    body = bson.encode(command)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(struct.pack("<iiiiI", 21 + len(body), 1, 0, 2013, 0) + b"\0" + body)
        reply = b""
        while len(reply) < 4 or len(reply) < struct.unpack("<i", reply[:4])[0]:
            piece = connection.recv(65536)
            assert piece, "the node closed the connection"
            reply += piece
    return bson.decode(reply[21:])


class Cluster:
    """A cluster of its own, driven through scripts/cluster as a user would."""

    def __init__(self, nodes=3, environment=None):
        self.directory = tempfile.mkdtemp(prefix="cairn-test-")
        self.base = free_base_port()
        self.size = nodes
        self.environment = {
            "CAIRN_BINARY": str(ROOT / ".build/release/cairn"), **os.environ, "CAIRN_DIR": self.directory, "CAIRN_BASE_PORT": str(self.base), **(environment or {}),
        }
        self.clients = []

    def run(self, *words, check=True, timeout=180):
        done = subprocess.run(
            [str(ROOT / "scripts/cluster"), *map(str, words)], env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"scripts/cluster {' '.join(map(str, words))} failed:\n{done.stdout}")
        return done.stdout

    def up(self):
        self.run("up", self.size, timeout=900)
        return self

    @property
    def addresses(self):
        return [f"127.0.0.1:{self.base + index}" for index in range(self.size)]

    @property
    def uri(self):
        return f"mongodb://{','.join(self.addresses)}/"

    def client(self, **options):
        """A driver on the whole cluster."""
        client = MongoClient(self.uri, serverSelectionTimeoutMS=20000, **options)
        self.clients.append(client)
        return client

    def node(self, number, **options):
        """A driver on one node alone."""
        options.setdefault("serverSelectionTimeoutMS", 20000)
        client = MongoClient(f"mongodb://{self.addresses[number - 1]}/?directConnection=true", **options)
        self.clients.append(client)
        return client

    def status(self, number):
        with MongoClient(
            f"mongodb://{self.addresses[number - 1]}/?directConnection=true", serverSelectionTimeoutMS=2000,
            socketTimeoutMS=3000,
        ) as client:
            return {group["group"]: group for group in client.admin.command("cairnStatus")["groups"]}

    def leaders(self, among=None):
        """Group -> the node that leads it, by the highest term that any of the asked nodes reports."""
        found = {}
        for number in among or range(1, self.size + 1):
            try:
                status = self.status(number)
            except Exception:
                continue
            for group, replica in status.items():
                if replica["role"] == "leader" and replica["term"] >= found.get(group, (0, 0))[0]:
                    found[group] = (replica["term"], number)
        return {group: number for group, (_, number) in found.items()}

    def wait_for_leaders(self, among=None, groups=7, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            leaders = self.leaders(among)
            if len(leaders) == groups and (among is None or all(node in among for node in leaders.values())):
                return leaders
            time.sleep(0.1)
        raise AssertionError(f"no leader for every group after {seconds} s: {leaders}")

    def mend(self):
        """Everything up, nothing cut."""
        for number in range(1, self.size + 1):
            self.run("resume", number, check=False)
            self.run("start", number)
        self.run("heal")
        self.wait_for_leaders()

    def close_clients(self, first=0):
        """Those from number `first` on, all at once: a driver that knows that its node is gone looks for another one for a while,
        to end its sessions there."""
        threads = [threading.Thread(target=client.close) for client in self.clients[first:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del self.clients[first:]

    def remove(self):
        self.close_clients()
        self.run("wipe", check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster():
    cluster = Cluster()
    try:
        yield cluster.up()
    finally:
        cluster.remove()


@pytest.fixture
def cluster(shared_cluster):
    """The shared cluster, whole at the start of each test."""
    yield shared_cluster
    shared_cluster.mend()


@pytest.fixture(autouse=True)
def drivers_end_with_their_test(request):
    """Each has threads and sockets to all nodes; those that fixtures of a whole module or run have made stay."""
    if "shared_cluster" not in request.fixturenames:
        yield
        return
    cluster = request.getfixturevalue("shared_cluster")
    first = len(cluster.clients)
    yield
    cluster.close_clients(first)


@pytest.fixture(scope="session")
def shared_client(shared_cluster):
    return shared_cluster.client()


@pytest.fixture
def db(shared_client, request):
    """A database of the test's own on the shared cluster, seen through a driver on all nodes."""
    name = f"test_{abs(hash(request.node.nodeid)) % 10**9}"
    shared_client.drop_database(name)
    yield shared_client[name]
    shared_client.drop_database(name)
