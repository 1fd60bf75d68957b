"""Leaders die, are moved, and find their clocks set, while clients write and read."""

import datetime
import glob
import pathlib
import socket
import struct
import subprocess
import threading
import time

import pytest
from conftest import Cluster, raw_command
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from test_faults import Load
from test_membership import wait_until


def move_leader(cluster, group, node, check=True):
    done = subprocess.run(
        [cluster.environment["CAIRN_BINARY"], "leader", "move", str(group), str(node), cluster.addresses[0]], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert not check or done.returncode == 0, done.stdout
    return done


def terms(cluster):
    """Group -> its term, as its leader says."""
    return {group: cluster.status(node)[group]["term"] for group, node in cluster.wait_for_leaders().items()}


def test_groups_of_a_killed_leader_take_writes_again_soon(cluster):
    """scripts/bench failover measures it; this is the bound that a busy machine keeps as well."""
    for _ in range(5):
        leaders = cluster.wait_for_leaders()
        victim = leaders[1]
        with Load(cluster, "killed", writers=6) as load:
            load.wait(200)
            load.longest_pause = 0.0
            cluster.run("kill", victim)
            # One writer or another meets each of the groups.
            load.wait(600)
            pause = load.longest_pause
        assert pause < 5, f"no write for {pause:.1f} s after node {victim} was killed"
        load.check(*[cluster.node(number) for number in (1, 2, 3) if number != victim])
        cluster.run("start", victim)


def test_a_moved_leader_interrupts_hardly_and_stays_where_it_is(cluster):
    leaders = cluster.wait_for_leaders()
    target = next(node for node in (1, 2, 3) if node != leaders[1])
    with Load(cluster, "moved") as load:
        load.wait(200)
        load.longest_pause = 0.0
        assert f"node {target} leads group 1" in move_leader(cluster, 1, target).stdout
        load.wait(300)
        pause = load.longest_pause
        # Longer than a preferred leader waits before it takes its office back.
        time.sleep(4)
    assert not load.failed, list(load.failed.items())[:3]
    assert pause < 2, f"no write for {pause:.1f} s"
    assert cluster.wait_for_leaders()[1] == target
    for words, node in (("there is no group 99", (99, 1)), ("there is no node 9", (1, 9))):
        refused = move_leader(cluster, *node, check=False)
        assert refused.returncode == 1 and words in refused.stdout, refused.stdout


def test_A21_a_reader_never_sees_time_go_back_over_nodes_and_leaders(cluster):
    """Each read sees at least what was acknowledged before it began, whichever node it asks and whoever leads."""
    cluster.client().clock.counter.drop()
    cluster.client().clock.counter.insert_one({"_id": 1, "n": 0})
    acknowledged, stopped, problems, reads = [0], threading.Event(), [], [0]

    def write():
        with MongoClient(cluster.uri, serverSelectionTimeoutMS=20000) as client:
            while not stopped.is_set():
                try:
                    acknowledged[0] = client.clock.counter.find_one_and_update(
                        {"_id": 1}, {"$inc": {"n": 1}}, return_document=True)["n"]
                except PyMongoError as error:
                    problems.append(f"write: {error}")

    def read():
        with MongoClient(cluster.uri, serverSelectionTimeoutMS=20000) as client:
            seen = 0
            while not stopped.is_set():
                known = max(acknowledged[0], seen)
                try:
                    seen = client.clock.counter.find_one({"_id": 1})["n"]
                except PyMongoError as error:
                    problems.append(f"read: {error}")
                    continue
                reads[0] += 1
                if seen < known:
                    problems.append(f"read {seen} after {known}")

    threads = [threading.Thread(target=work) for work in (write, read, read, read)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            leaders = cluster.wait_for_leaders()
            for group in (1, 2, 3, 4, 5, 6):
                move_leader(cluster, group, leaders[group] % 3 + 1)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert not problems, problems[:5]
    assert reads[0] > 500 and acknowledged[0] > 200


def peer_hello(cluster, number, version=2, sender=2, name="local-3"):
    """Opens a peer connection to a node and returns what it answers: a frame's kind and payload, or None when it just waits."""
    name = name.encode()
    payload = struct.pack("<HBQQQ", version, 3, sender, number, 12345) + name
    body = b"\x01" + payload
    with socket.create_connection(("127.0.0.1", cluster.base + 99 + number), timeout=10) as connection:
        connection.sendall(struct.pack("<II", len(body), crc32c(body)) + body)
        connection.settimeout(5)
        reply = b""
        try:
            while piece := connection.recv(4096):
                reply += piece
        except TimeoutError:
            return None
    return reply[8], reply[9:]


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_A52_a_node_of_another_version_is_told_so_and_changes_nothing(cluster):
    before = terms(cluster)
    for version in (1, 3, 9):
        kind, payload = peer_hello(cluster, 1, version=version)
        assert kind == 8 and payload[0] == 0
        assert f"peer protocol version {version} is not 2" in payload[1:].decode()
    kind, payload = peer_hello(cluster, 1, name="another")
    assert kind == 8 and "it belongs to cluster 'another'" in payload[1:].decode()
    log = cluster.run("logs", 1)
    assert "peer protocol version 9 is not 2: run the same release on all nodes" in log
    assert terms(cluster) == before


def test_A52_a_rolling_restart_under_load_loses_nothing_and_fails_nothing(cluster):
    with Load(cluster, "rolling") as load:
        load.wait(200)
        load.longest_pause = 0.0
        for number in (1, 2, 3):
            cluster.run("stop", number)
            load.wait(100)
            cluster.run("start", number)
            cluster.wait_for_leaders()
            load.wait(100)
        pause = load.longest_pause
    assert not load.failed, list(load.failed.items())[:3]
    assert pause < 5, f"no write for {pause:.1f} s"
    load.check(*[cluster.node(number) for number in (1, 2, 3)])


FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


@pytest.mark.skipif(not FAKETIME, reason="Debian's package faketime is not installed")
def test_A16_wall_clocks_that_jump_an_hour_cost_no_election():
    """Each node's wall clock is set by a file of its own; the monotonic clocks go on as they are."""
    cluster = Cluster()
    try:
        cluster.up()
        clocks = {number: pathlib.Path(cluster.directory, f"clock-{number}") for number in (1, 2, 3)}
        for number, clock in clocks.items():
            clock.write_text("+0s")
            cluster.environment.update(
                LD_PRELOAD=FAKETIME[0], FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_DONT_FAKE_MONOTONIC="1",
                FAKETIME_NO_CACHE="1")
            cluster.run("stop", number)
            cluster.run("start", number)
        for name in [name for name in cluster.environment if "FAKETIME" in name] + ["LD_PRELOAD"]:
            del cluster.environment[name]
        cluster.wait_for_leaders()

        def leaders_are_home():
            layout = raw_command(cluster.addresses[0], {"cairnLayout": 1, "$db": "admin"})
            return cluster.leaders() == {group["id"]: group["preferredLeader"] for group in layout["groups"]}

        wait_until(leaders_are_home, seconds=60)
        before = terms(cluster)

        def skew(number):
            now = raw_command(cluster.addresses[number - 1], {"serverStatus": 1, "$db": "admin"})["localTime"]
            return now.replace(tzinfo=datetime.timezone.utc).timestamp() - time.time()

        with Load(cluster, "clocks") as load:
            load.wait(200)
            load.longest_pause = 0.0
            for settings in [{1: 3600}, {1: 3600, 2: -3600}, {1: 3600, 2: 3600, 3: 3600}, {1: -3600}, {}]:
                for number, clock in clocks.items():
                    clock.write_text(f"{settings.get(number, 0):+d}s")
                time.sleep(1.5)
                for number in clocks:
                    assert abs(skew(number) - settings.get(number, 0)) < 30, "the clock was not set"
                load.wait(100)
            pause = load.longest_pause
        assert terms(cluster) == before, "an election took place"
        assert not load.failed, list(load.failed.items())[:3]
        assert pause < 2, f"no write for {pause:.1f} s"
        load.check(*[cluster.node(number) for number in (1, 2, 3)])
    finally:
        cluster.remove()
