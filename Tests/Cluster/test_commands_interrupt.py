"""Operations that nobody wants any more end: because somebody killed them, or because their client went."""

import socket
import struct
import threading
import time

import bson
import pytest
from pymongo.errors import OperationFailure, PyMongoError

# Enough that each of the operations below takes some ten seconds.
COUNT = 60_000
# Where there are processors to spare it is some ten milliseconds; the tests may run beside fifteen compilers.
WITHIN = 4.0

# Minutes.
LOOPS = {"$sum": {"$map": {"input": {"$range": [0, 3_000_000]}, "in": {"$sum": {"$map": {"input": {"$range": [0, 3_000_000]}, "in": {"$add": ["$$this", 1]}}}}}}}

SLOW = {
    "scan": {"find": "big", "filter": {"$expr": {"$eq": [{"$reduce": {"input": {"$range": [0, 400]}, "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}, -1]}}},
    "count": {"count": "big", "query": {"$expr": {"$eq": [{"$reduce": {"input": {"$range": [0, 400]}, "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}, -1]}}},
    "group": {"aggregate": "big", "cursor": {}, "pipeline": [{"$unwind": "$list"}, {"$unwind": "$list2"}, {"$unwind": "$list3"}, {"$group": {"_id": "$list", "n": {"$sum": 1}}}]},
    "sort": {"aggregate": "big", "cursor": {}, "pipeline": [{"$set": {"key": {"$reduce": {"input": {"$range": [0, 300]}, "initialValue": "$_id", "in": {"$mod": [{"$add": [{"$multiply": ["$$value", 31]}, 7]}, 65521]}}}}}, {"$sort": {"key": 1}}, {"$limit": 5}]},
    "lookup": {"aggregate": "big", "cursor": {}, "pipeline": [{"$lookup": {"from": "big", "localField": "n", "foreignField": "n", "as": "same"}}, {"$group": {"_id": {"$size": "$same"}}}]},
    # What the router does by itself: the merging part of a pipeline, and the values of a `let`.
    "merge": {"aggregate": "big", "cursor": {}, "pipeline": [{"$group": {"_id": None}}, {"$project": {"v": LOOPS}}]},
    "let": {"find": "big", "filter": {"$expr": {"$eq": ["$_id", "$$v"]}}, "let": {"v": LOOPS}},
    "index": {"createIndexes": "big", "indexes": [{"key": {"list": 1, "n": 1, "_id": 1}, "name": "slow"}]},
}


@pytest.fixture(scope="module")
def big(shared_cluster):
    client = shared_cluster.client()
    database = client.interrupted
    database.big.drop()
    numbers = list(range(12))
    for start in range(0, COUNT, 5_000):
        database.big.insert_many(
            [{"_id": i, "n": i % 10_000, "list": numbers, "list2": numbers, "list3": numbers, "text": "x" * 100} for i in range(start, start + 5_000)])
    yield database
    client.drop_database("interrupted")


def running(node, comment):
    return [o for o in node.admin.command({"currentOp": 1, "command.comment": comment})["inprog"]]


def wait_until_running(node, comment):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        operations = running(node, comment)
        if operations and operations[0]["microsecs_running"] > 150_000:
            return operations[0]
        time.sleep(0.01)
    raise AssertionError("the operation was over before it could be interrupted, or did not begin")


@pytest.mark.parametrize("name", SLOW)
def test_a_killed_operation_ends(big, shared_cluster, name):
    node = shared_cluster.node(1, retryReads=False, retryWrites=False)
    other = shared_cluster.node(1)
    outcome = []

    def run():
        try:
            node.interrupted.command({**SLOW[name], "comment": f"kill {name}"})
            outcome.append(None)
        except PyMongoError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    operation = wait_until_running(other, f"kill {name}")
    begin = time.monotonic()
    assert other.admin.command("killOp", op=operation["opid"])["ok"] == 1
    thread.join(timeout=30)
    took = time.monotonic() - begin
    print(f"{name}: {took * 1000:.0f} ms")
    assert not thread.is_alive()
    assert isinstance(outcome[0], OperationFailure), outcome
    assert (outcome[0].code, outcome[0].details["codeName"]) == (11601, "Interrupted")
    assert took < WITHIN
    big.big.drop_indexes()


@pytest.mark.parametrize("name", SLOW)
def test_an_operation_ends_with_its_connection(big, shared_cluster, name):
    other = shared_cluster.node(1)
    host, port = shared_cluster.addresses[0].split(":")
    body = bson.encode({**SLOW[name], "comment": f"leave {name}", "$db": "interrupted"})
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(struct.pack("<iiiiI", 21 + len(body), 1, 0, 2013, 0) + b"\0" + body)
        wait_until_running(other, f"leave {name}")
    begin = time.monotonic()
    while running(other, f"leave {name}"):
        assert time.monotonic() - begin < WITHIN
        time.sleep(0.005)
    big.big.drop_indexes()


def busy_seconds(cluster, seconds=1.0):
    """Processor time that the nodes use while nobody asks anything of them."""
    def used():
        total = 0
        for number in range(1, cluster.size + 1):
            pid = int(open(f"{cluster.directory}/node-{number}/pid").read())
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / 100

    before = used()
    time.sleep(seconds)
    return used() - before


def wait_until_idle(cluster, seconds):
    deadline = time.monotonic() + seconds
    while (busy := busy_seconds(cluster, 0.5)) > 0.2:
        assert time.monotonic() < deadline, f"{busy} s of 0.5 s busy after {seconds} s"


def test_the_groups_stop_too(big, shared_cluster):
    """A killed scan would keep reader threads of three nodes busy for as long as it has documents left."""
    # What earlier tests left to do in the background, as after dropped indexes, is not what this is about.
    wait_until_idle(shared_cluster, 60)
    node = shared_cluster.node(1, retryReads=False)
    other = shared_cluster.node(1)
    thread = threading.Thread(target=lambda: pytest.raises(OperationFailure, node.interrupted.command, {**SLOW["scan"], "comment": "stop"}))
    thread.start()
    operation = wait_until_running(other, "stop")
    other.admin.command("killOp", op=operation["opid"])
    thread.join()
    # The whole scan takes some ten seconds of processor time.
    wait_until_idle(shared_cluster, 5)


def test_current_op_shows_how_far_an_index_build_has_come(shared_cluster, big):
    node = shared_cluster.node(1)
    comment = "progress"
    index = {"createIndexes": "big", "indexes": [{"key": {"list": 1, "text": 1, "n": 1}, "name": "watched"}], "comment": comment}
    builder = threading.Thread(target=lambda: node.interrupted.command(index))
    builder.start()
    seen = []
    while builder.is_alive():
        seen += [o for o in running(node, comment) if "progress" in o]
        time.sleep(0.02)
    builder.join()
    assert seen, "the build was not seen"
    done = [o["progress"]["done"] for o in seen]
    assert done == sorted(done) and done[-1] <= COUNT
    # Whoever is half way knows how far it is, give or take what chance makes of the slots.
    late = [o for o in seen if o["progress"]["done"] > COUNT / 2]
    assert late and all(COUNT * 0.9 < o["progress"]["total"] < COUNT * 1.1 for o in late)
    assert late[-1]["msg"].startswith("Index Build: scanning collection") and late[-1]["msg"].endswith("%")
    big.big.drop_index("watched")
