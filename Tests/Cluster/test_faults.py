"""What must hold when nodes die, stop, lose each other and come back. Every test keeps a ledger of what was acknowledged."""

import threading
import time

import pytest
from conftest import Cluster
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError
from pymongo.read_preferences import ReadPreference


class Load:
    """Writers that go on until told to stop, and remember what was acknowledged."""

    def __init__(self, cluster, name, writers=8):
        self.cluster, self.name = cluster, name
        self.acknowledged, self.failed = set(), {}
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.longest_pause, self.last = 0.0, time.monotonic()
        cluster.client().ledger[name].drop()
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(writers)]

    def write(self, number):
        client = MongoClient(self.cluster.uri, serverSelectionTimeoutMS=20000, socketTimeoutMS=30000)
        collection, count = client.ledger[self.name], 0
        while not self.stopped.is_set():
            key = f"{number}-{count}"
            count += 1
            try:
                collection.insert_one({"_id": key, "text": "x" * 300})
            except PyMongoError as error:
                with self.lock:
                    self.failed[key] = error
                continue
            with self.lock:
                now = time.monotonic()
                self.longest_pause = max(self.longest_pause, now - self.last)
                self.last = now
                self.acknowledged.add(key)
        client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait(self, count, seconds=60):
        """Until so many more writes were acknowledged."""
        goal, deadline = len(self.acknowledged) + count, time.monotonic() + seconds
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, f"no progress: {len(self.acknowledged)} of {goal}; {list(self.failed.values())[:2]}"
            time.sleep(0.05)

    def check(self, *clients):
        assert self.acknowledged
        for client in clients:
            found = {d["_id"] for d in client.ledger[self.name].find({}, {"_id": 1})}
            missing = self.acknowledged - found
            assert not missing, f"{len(missing)} acknowledged writes are lost, {sorted(missing)[:3]} among them"


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_sigkill_of_any_node_under_load_loses_nothing(cluster, victim):
    survivors = [number for number in (1, 2, 3) if number != victim]
    with Load(cluster, f"kill{victim}") as load:
        load.wait(300)
        cluster.run("kill", victim)
        load.wait(300)
        cluster.wait_for_leaders(among=survivors)
        load.wait(300)
    load.check(*[cluster.node(number) for number in survivors])
    cluster.run("start", victim)
    cluster.wait_for_leaders()
    load.check(cluster.node(victim))


def test_A28_sigkill_of_all_nodes_at_once_loses_nothing_acknowledged(cluster):
    for round in range(3):
        with Load(cluster, f"all{round}") as load:
            load.wait(300)
            killers = [threading.Thread(target=cluster.run, args=("kill", number)) for number in (1, 2, 3)]
            for killer in killers:
                killer.start()
            for killer in killers:
                killer.join()
            load.stopped.set()
            for number in (1, 2, 3):
                cluster.run("start", number)
        cluster.wait_for_leaders()
        load.check(*[cluster.node(number) for number in (1, 2, 3)])


def test_A09_a_partitioned_leader_acknowledges_nothing_steps_down_and_rejoins(cluster):
    client = cluster.client()
    client.ledger.isolated.drop()
    client.ledger.isolated.insert_many([{"_id": f"before{n}"} for n in range(60)])
    leaders = cluster.wait_for_leaders()
    victim = leaders[1]
    others = [number for number in (1, 2, 3) if number != victim]
    cluster.run("partition", victim, "/", *others)
    alone = cluster.node(victim, retryWrites=False, socketTimeoutMS=4000)
    acknowledged = []

    def write_alone():
        for n in range(12):
            try:
                alone.ledger.isolated.insert_one({"_id": f"alone{n}"})
                acknowledged.append(n)
            except (PyMongoError, AutoReconnect):
                pass

    writer = threading.Thread(target=write_alone)
    writer.start()
    new = cluster.wait_for_leaders(among=others)
    for n in range(60):
        cluster.node(others[0]).ledger.isolated.insert_one({"_id": f"majority{n}"})
    assert all(replica["role"] != "leader" for replica in cluster.status(victim).values())
    writer.join()
    assert acknowledged == []
    cluster.run("heal")
    cluster.wait_for_leaders()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = [cluster.status(number) for number in (1, 2, 3)]
        if all(len({state[group]["appliedIndex"] for state in states}) == 1 for group in states[0]):
            break
        time.sleep(0.2)
    found = {d["_id"] for d in cluster.node(victim).ledger.isolated.find()}
    assert {f"before{n}" for n in range(60)} | {f"majority{n}" for n in range(60)} <= found
    assert new and {group: state["term"] for group, state in states[0].items()} == {group: state["term"] for group, state in states[1].items()}


def test_A10_a_leader_that_hears_nothing_steps_down(cluster):
    leaders = cluster.wait_for_leaders()
    victim = leaders[2]
    others = [number for number in (1, 2, 3) if number != victim]
    cluster.run("partition", *others, "/", victim, "--one-way")
    cluster.wait_for_leaders(among=others)
    cluster.node(others[0]).ledger.oneway.insert_one({})
    cluster.run("heal")
    cluster.wait_for_leaders()


def test_A06_a_node_that_was_cut_off_returns_without_an_election(cluster):
    cluster.wait_for_leaders()
    time.sleep(6)  # preferred leaders have taken over
    leaders = cluster.wait_for_leaders()
    terms = {group: replica["term"] for group, replica in cluster.status(1).items()}
    followers_only = [number for number in (1, 2, 3) if number not in leaders.values()]
    victim = followers_only[0] if followers_only else 3
    kept = [group for group, leader in leaders.items() if leader != victim]
    cluster.run("partition", victim, "/", *[n for n in (1, 2, 3) if n != victim])
    time.sleep(8)
    cluster.run("heal")
    time.sleep(1)
    observer = 1 if victim != 1 else 2
    after = {group: replica["term"] for group, replica in cluster.status(observer).items()}
    assert {group: after[group] for group in kept} == {group: terms[group] for group in kept}


def test_A15_a_paused_leader_that_wakes_serves_no_stale_read(cluster):
    client = cluster.client()
    registers = client.ledger.registers
    registers.drop()
    registers.insert_many([{"_id": n, "value": 0} for n in range(60)])
    leaders = cluster.wait_for_leaders()
    victim = leaders[3]
    others = [number for number in (1, 2, 3) if number != victim]
    stale, answers = [], 0
    waiting = [cluster.node(victim, retryReads=False, socketTimeoutMS=30000) for _ in range(8)]
    for reader in waiting:
        reader.ledger.registers.find_one({"_id": 0})
    cluster.run("pause", victim)
    started = threading.Barrier(len(waiting) + 1)

    def read(reader, number):
        nonlocal answers
        started.wait()
        for n in range(number, 60, len(waiting)):
            try:
                value = reader.ledger.registers.find_one({"_id": n})["value"]
                answers += 1
                if value != 1:
                    stale.append((n, value))
            except PyMongoError:
                pass

    cluster.wait_for_leaders(among=others)
    writer = cluster.node(others[0])
    for n in range(60):
        assert writer.ledger.registers.update_one({"_id": n}, {"$set": {"value": 1}}).modified_count == 1
    readers = [threading.Thread(target=read, args=(reader, number)) for number, reader in enumerate(waiting)]
    for reader in readers:
        reader.start()
    started.wait()
    time.sleep(0.5)  # the requests wait in the paused node's sockets
    cluster.run("resume", victim)
    for reader in readers:
        reader.join()
    assert stale == []
    assert answers > 0


@pytest.fixture
def forgetful_cluster():
    """A cluster whose log keeps little for those who lag."""
    cluster = Cluster(environment={
        "CAIRN_RAFT_LOG_BYTES": str(2 << 20), "CAIRN_RAFT_LOG_ENTRIES": "64", "CAIRN_STORAGE_MEMTABLE_BYTES": str(1 << 20)})
    try:
        yield cluster.up()
    finally:
        cluster.remove()


def test_a_node_that_was_down_while_the_log_was_truncated_catches_up_by_snapshot(forgetful_cluster):
    cluster = forgetful_cluster
    client = cluster.client()
    collection = client.ledger.bulk
    collection.drop()
    collection.insert_many([{"_id": n, "text": "x" * 100} for n in range(100)])
    victim = 3
    before = cluster.status(victim)
    cluster.run("stop", victim)
    # More than the log keeps for those who lag.
    for n in range(30):
        collection.insert_many([{"_id": 1000 + n * 1000 + i, "text": f"{n * i} " * 40} for i in range(1000)])
    restarted = None
    for round in range(60):
        statuses = cluster.status(1)
        if all(statuses[g]["firstLogIndex"] > before[g]["appliedIndex"] + 1 for g in range(1, 7)):
            restarted = round
            break
        collection.update_many({}, {"$set": {"round": round}})
    assert restarted is not None, "the log was never truncated"
    cluster.run("start", victim)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        mine, theirs = cluster.status(victim), cluster.status(1)
        if all(mine[g]["appliedIndex"] == theirs[g]["appliedIndex"] for g in theirs):
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"node {victim} did not catch up")
    cluster.wait_for_leaders()
    # The others die in turn, so that what it serves is its own.
    for other in (1, 2):
        cluster.run("kill", other)
        cluster.wait_for_leaders(among=[n for n in (1, 2, 3) if n != other])
        assert cluster.node(victim).ledger.bulk.count_documents({}) == 30_100
        cluster.run("start", other)
        cluster.wait_for_leaders()


def test_a_clean_stop_hands_leadership_over_and_interrupts_hardly(cluster):
    with Load(cluster, "stop") as load:
        load.wait(300)
        load.longest_pause = 0.0
        cluster.run("stop", 2)
        load.wait(300)
        pause = load.longest_pause
    assert pause < 3, f"no write for {pause:.1f} s"
    assert not load.failed
    load.check(cluster.node(1), cluster.node(3))


def test_a_node_alone_keeps_its_data_over_sigkill(tmp_path):
    single = Cluster(nodes=1)
    try:
        single.up()
        client = single.client()
        client.alone.stones.insert_many([{"_id": n} for n in range(1000)])
        client.alone.stones.create_index("a")
        single.run("kill", 1)
        single.run("start", 1)
        single.wait_for_leaders(groups=7)
        assert client.alone.stones.count_documents({}) == 1000
        assert "a_1" in client.alone.stones.index_information()
    finally:
        single.remove()
