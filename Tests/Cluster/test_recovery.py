"""The majority of a cluster is lost for good, and one survivor is told to go on."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import Cluster, raw_command
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from test_faults import Load
from test_membership import wait_until


class Recovered(Cluster):
    """Three nodes of which the third survives, and what is done about it."""

    def __init__(self):
        super().__init__()
        self.joined = []

    def data(self, number):
        return pathlib.Path(self.directory, f"node-{number}", "data")

    def recover(self, *words):
        return subprocess.run(
            [self.environment["CAIRN_BINARY"], "recover", "--config", f"{self.directory}/cluster.yaml", "--node", "3",
             "--data", str(self.data(3)), *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def join(self, number):
        """A new node, known by the survivor."""
        folder = tempfile.mkdtemp(prefix="cairn-joined-", dir=self.directory)
        address = f"127.0.0.1:{self.base + number - 1}"
        done = subprocess.run(
            [self.environment["CAIRN_BINARY"], "node", "add", "--data", folder, "--client", address, self.addresses[2]],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert f"node {number} belongs to the cluster" in done.stdout, done.stdout
        log = open(f"{folder}.log", "w")
        self.joined.append(subprocess.Popen(
            [self.environment["CAIRN_BINARY"], "serve", "--data", folder], env=self.environment, stdout=log, stderr=log))

    def groups_on(self, node):
        reply = raw_command(self.addresses[2], {"cairnNodeGroups": 1, "node": node, "$db": "admin"})
        return reply["groups"] if reply["ok"] == 1 else []

    def ends_by_itself(self, number, words):
        """Starts a node and sees it end, with those words in its log."""
        log = pathlib.Path(self.directory, f"node-{number}", "log")
        before = log.stat().st_size
        self.run("start", number, check=False)
        wait_until(lambda: f"node={number} pid=- state=down" in self.run("status"), seconds=20)
        text = log.read_text()[before:]
        assert words in text, text[-2000:]

    def remove(self):
        for process in self.joined:
            process.kill()
            process.wait()
        super().remove()


@pytest.fixture
def lost():
    cluster = Recovered()
    try:
        yield cluster.up()
    finally:
        cluster.remove()


def fill(cluster):
    """Writes until all three nodes have the same, and returns the ledger."""
    with Load(cluster, "before") as load:
        load.wait(500)

    def is_level():
        statuses = [cluster.status(number) for number in (1, 2, 3)]
        return all(len({status[group]["appliedIndex"] for status in statuses}) == 1 for group in statuses[0])

    wait_until(is_level, seconds=30)
    return load


def takes_no_writes(cluster):
    with MongoClient(f"mongodb://{cluster.addresses[2]}/?directConnection=true", serverSelectionTimeoutMS=3000) as client:
        with pytest.raises(PyMongoError):
            client.ledger.command({"insert": "alone", "documents": [{"_id": 1}], "maxTimeMS": 3000})


def test_A53_a_survivor_waits_until_it_is_told_and_the_lost_are_turned_away(lost):
    cluster = lost
    load = fill(cluster)
    busy = cluster.recover()
    assert busy.returncode == 1 and "another process uses" in busy.stdout, busy.stdout
    cluster.run("kill", 1)
    cluster.run("kill", 2)
    takes_no_writes(cluster)
    time.sleep(3)
    assert cluster.leaders(among=[3]) == {}, "it invented a quorum"
    cluster.run("stop", 3)

    # It says what may be lost, and changes nothing.
    identity = (cluster.data(3) / "NODE_ID").read_text()
    segments = sorted(os.listdir(cluster.data(3) / "raft"))
    dry = cluster.recover()
    assert dry.returncode == 0, dry.stdout
    assert "The nodes 1, 2 would be given up" in dry.stdout and "Nothing was changed" in dry.stdout
    assert dry.stdout.count("what the others acknowledged after entry") == 7
    assert (cluster.data(3) / "NODE_ID").read_text() == identity
    assert sorted(os.listdir(cluster.data(3) / "raft")) == segments
    cluster.run("start", 3)
    takes_no_writes(cluster)
    cluster.run("stop", 3)

    done = cluster.recover("--accept-data-loss")
    assert done.returncode == 0 and "Node 3 is the cluster 'local-3' now" in done.stdout, done.stdout
    cluster.run("start", 3)
    cluster.wait_for_leaders(among=[3])
    survivor = cluster.node(3)
    load.check(survivor)
    survivor.ledger.after.insert_many([{"_id": n} for n in range(200)])

    # The lost come back: one with its data, one with an empty folder, and both at once.
    given_up = "the cluster 'local-3' was recovered without it"
    cluster.ends_by_itself(1, given_up)
    shutil.rmtree(cluster.data(2))
    cluster.ends_by_itself(2, given_up)
    for number in (1, 2):
        cluster.run("start", number, check=False)
    wait_until(lambda: cluster.run("status").count("state=down") == 2, seconds=20)
    assert set(cluster.wait_for_leaders(among=[3]).values()) == {3}

    # It survives a restart, has nothing more to recover from, and gets its copies back.
    cluster.run("stop", 3)
    again = cluster.recover("--accept-data-loss")
    assert again.returncode == 0 and "there is nothing to recover" in again.stdout, again.stdout
    cluster.run("start", 3)
    cluster.wait_for_leaders(among=[3])
    cluster.join(4)
    wait_until(lambda: len(cluster.groups_on(4)) == 7, seconds=60)
    cluster.join(5)
    wait_until(lambda: len(cluster.groups_on(5)) == 7, seconds=60)
    layout = raw_command(cluster.addresses[2], {"cairnLayout": 1, "$db": "admin"})
    assert [node["id"] for node in layout["nodes"]] == [3, 4, 5]

    def all_vote():
        return all(sorted(group["voters"]) == [3, 4, 5] for group in layout["groups"])

    assert all_vote()
    # The two that joined are a majority without the survivor.
    time.sleep(3)
    cluster.run("kill", 3)
    client = MongoClient(f"mongodb://127.0.0.1:{cluster.base + 3}/?directConnection=true", serverSelectionTimeoutMS=20000)
    cluster.clients.append(client)
    client.ledger.after.insert_one({"_id": "without 3"})
    assert client.ledger.after.count_documents({}) == 201
    load.check(client)
    cluster.run("start", 3)
    load.check(survivor)


def test_A53_A32_founders_with_empty_folders_do_not_found_the_cluster_anew(lost):
    cluster = lost
    load = fill(cluster)
    kept = tempfile.mkdtemp(dir=cluster.directory)
    for number in (1, 2):
        cluster.run("kill", number)
        shutil.move(cluster.data(number), f"{kept}/{number}")
    for number in (1, 2):
        cluster.run("start", number, check=False)
    wait_until(lambda: cluster.run("status").count("state=down") == 2, seconds=20)
    for number in (1, 2):
        log = pathlib.Path(cluster.directory, f"node-{number}", "log").read_text()
        assert "it comes with another data folder than before" in log, log[-2000:]
    # Whoever led before gives up when it has heard of no majority for an election timeout.
    wait_until(lambda: cluster.leaders(among=[3]) == {}, seconds=10)
    # Their disks were found: all is as it was.
    for number in (1, 2):
        shutil.rmtree(cluster.data(number))
        shutil.move(f"{kept}/{number}", cluster.data(number))
        cluster.run("start", number)
    cluster.wait_for_leaders()
    load.check(*[cluster.node(number) for number in (1, 2, 3)])
    with Load(cluster, "found") as load:
        load.wait(200)


def test_A53_a_recovery_from_another_folder_or_of_a_whole_cluster_says_what_is_wrong(lost):
    cluster = lost
    fill(cluster)
    cluster.run("down")
    binary, config = cluster.environment["CAIRN_BINARY"], f"{cluster.directory}/cluster.yaml"
    for words, code, expected in [
        (["--config", config, "--node", "2", "--data", str(cluster.data(3))], 1, "was made with node 3, not 2"),
        (["--config", config, "--node", "3", "--data", f"{cluster.directory}/nothing"], 1, "is not the folder of a node"),
    ]:
        done = subprocess.run([binary, "recover", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == code and expected in done.stdout, done.stdout
    # A replica that is gone from the survivor begins empty, and the command says so first.
    shutil.rmtree(cluster.data(3) / "groups" / "5")
    told = cluster.recover()
    assert told.returncode == 0 and "EVERYTHING: this node has nothing of it" in told.stdout, told.stdout
    shutil.rmtree(cluster.data(3) / "groups" / "0")
    refused = cluster.recover("--accept-data-loss")
    assert refused.returncode == 1 and "the meta group has no replica here" in refused.stdout, refused.stdout
