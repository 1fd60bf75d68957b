"""Nodes join, leave and are replaced while clients write."""

import os
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import Cluster, raw_command
from test_faults import Load


class Joined:
    """A node that joins a running cluster, with nothing but a peer's address."""

    def __init__(self, cluster, number):
        self.binary = cluster.environment["CAIRN_BINARY"]
        self.directory = tempfile.mkdtemp(prefix="cairn-joined-", dir=cluster.directory)
        self.address = f"127.0.0.1:{cluster.base + number - 1}"
        done = node_command(cluster, "add", "--data", self.directory, "--client", self.address)
        assert f"node {number} belongs to the cluster" in done.stdout, done.stdout
        self.environment = cluster.environment
        self.start()

    def start(self):
        self.log = open(f"{self.directory}.log", "a")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--data", self.directory], env=self.environment, stdout=self.log, stderr=self.log)

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
        self.log.close()


def node_command(cluster, *words, check=True, timeout=120):
    done = subprocess.run(
        [cluster.environment["CAIRN_BINARY"], "node", *map(str, words), cluster.addresses[0]], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    assert not check or done.returncode == 0, done.stdout
    return done


def groups_on(cluster, node):
    reply = raw_command(cluster.addresses[0], {"cairnNodeGroups": 1, "node": node, "$db": "admin"})
    return reply["groups"] if reply["ok"] == 1 else None


def node_state(cluster, node):
    reply = raw_command(cluster.addresses[0], {"cairnLayout": 1, "$db": "admin"})
    return next((known["state"] for known in reply["nodes"] if known["id"] == node), None)


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def own_cluster():
    cluster = Cluster(environment={"CAIRN_CLUSTER_REBUILD_AFTER_SECONDS": "6"})
    joined = []
    cluster.join = lambda number: joined.append(Joined(cluster, number)) or joined[-1]
    try:
        yield cluster.up()
    finally:
        for node in joined:
            node.end(signal.SIGKILL)
        cluster.remove()


def test_a_node_joins_another_leaves_and_no_client_notices(own_cluster):
    cluster = own_cluster
    refused = node_command(cluster, "drain", 3, check=False)
    assert refused.returncode == 1 and "add a node first" in refused.stdout
    with Load(cluster, "joined") as load:
        load.wait(300)
        fourth = cluster.join(4)
        wait_until(lambda: len(groups_on(cluster, 4) or []) >= 4)
        load.wait(300)
        drained = node_command(cluster, "drain", 3)
        assert "node 3 is empty" in drained.stdout
        assert groups_on(cluster, 3) == []
        load.wait(300)
        early = node_command(cluster, "remove", 2, check=False)
        assert early.returncode == 1 and "still holds replicas" in early.stdout
        node_command(cluster, "remove", 3)
        # What its replicas had promised is remembered, and nothing else.
        groups = f"{cluster.directory}/node-3/data/groups"
        wait_until(lambda: all(name.endswith(".left") for name in os.listdir(groups)))
        cluster.run("stop", 3)
        load.wait(300)
    assert load.failed == {}, list(load.failed.items())[:3]
    load.check(cluster.node(1), cluster.node(2))
    # What the new node has is enough to lose one of the old ones.
    cluster.run("kill", 1)
    fourth.end(signal.SIGKILL)
    fourth.start()
    with Load(cluster, "after") as load:
        load.wait(200)
    load.check(cluster.node(2))


def test_a_dead_node_is_rebuilt_elsewhere_and_taken_back_when_it_returns(own_cluster):
    cluster = own_cluster
    cluster.join(4)
    wait_until(lambda: len(groups_on(cluster, 4) or []) >= 4)
    with Load(cluster, "dead") as load:
        load.wait(200)
        cluster.run("kill", 2)
        wait_until(lambda: node_state(cluster, 2) == "lost" and groups_on(cluster, 2) == [])
        load.wait(300)
        cluster.run("start", 2)
        wait_until(lambda: node_state(cluster, 2) == "active" and len(groups_on(cluster, 2) or []) >= 4)
        load.wait(300)
    load.check(cluster.node(1), cluster.node(2))


def test_a_node_is_replaced_by_another(own_cluster):
    cluster = own_cluster
    with Load(cluster, "replaced") as load:
        load.wait(200)
        cluster.join(4)
        done = node_command(cluster, "replace", 3, 4)
        assert "node 3 is empty" in done.stdout
        load.wait(200)
    assert load.failed == {}, list(load.failed.items())[:3]
    assert len(groups_on(cluster, 4)) == 7
    load.check(cluster.node(1), cluster.node(2))
