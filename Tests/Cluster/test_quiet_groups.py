"""Many groups of which nobody uses most: what they cost, and how they come back."""

import os
import pathlib
import resource
import time

import pytest
from conftest import Cluster
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

GROUPS = 200


@pytest.fixture(scope="module")
def many():
    cluster = Cluster(environment={"CAIRN_CLUSTER_GROUPS": str(GROUPS), "CAIRN_RAFT_QUIET_AFTER_MS": "1000"})
    # Less than the groups need, as many systems have it: a node raises what it may.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(350, hard), hard))
        try:
            cluster.up()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield cluster
    finally:
        cluster.remove()


def awake(cluster, among):
    """Replicas that are awake, without the group that is asked for the layout all the time."""
    return [(number, group) for number in among for group, replica in cluster.status(number).items()
            if group != 0 and not replica["quiet"]]


def wait_until_quiet(cluster, among=(1, 2, 3), seconds=40):
    deadline = time.monotonic() + seconds
    while awake(cluster, among):
        assert time.monotonic() < deadline, f"still awake: {awake(cluster, among)[:10]}"
        time.sleep(0.5)


def cpu_seconds(cluster, number):
    pid = int(pathlib.Path(cluster.directory, f"node-{number}", "pid").read_text())
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_percent(cluster, among, seconds=5):
    before = [cpu_seconds(cluster, number) for number in among]
    time.sleep(seconds)
    return [100 * (cpu_seconds(cluster, number) - then) / seconds for number, then in zip(among, before)]


def write_until_done(client, keys, seconds):
    """Writes to each key's group until each has acknowledged it."""
    items = client.quiet.get_collection("items", write_concern=WriteConcern("majority"))
    deadline = time.monotonic() + seconds
    for key in keys:
        while True:
            try:
                items.update_one({"_id": key}, {"$inc": {"n": 1}}, upsert=True)
                break
            except PyMongoError:
                assert time.monotonic() < deadline, f"no leader for the group of {key}"


def test_A50_quiet_groups_cost_next_to_nothing(many):
    wait_until_quiet(many)
    # With the layout that is looked at, the status that is asked, and a machine that does other things.
    assert max(idle_percent(many, (1, 2, 3))) < 5


def test_A50_first_write_to_a_quiet_group_is_served_at_once(many):
    client = many.client()
    write_until_done(client, range(50), 30)
    wait_until_quiet(many)
    begun = time.monotonic()
    write_until_done(client, range(50), 30)
    assert time.monotonic() - begun < 10
    assert client.quiet.items.count_documents({"n": {"$gte": 2}}) == 50


def test_A50_quiet_groups_find_leaders_after_sigkill(many):
    client = many.node(1)
    write_until_done(client, range(50), 30)
    wait_until_quiet(many)
    many.run("kill", 3)
    # The first of them waits for the loss to be noticed and for an election.
    write_until_done(client, range(50), 20)
    many.wait_for_leaders(among=[1, 2], groups=GROUPS + 1, seconds=20)
    wait_until_quiet(many, among=(1, 2))
    assert max(idle_percent(many, (1, 2))) < 5
    many.run("start", 3)
    many.wait_for_leaders(groups=GROUPS + 1)
    wait_until_quiet(many)
    # The node that came back has everything, though it slept when the others fell silent.
    statuses = [many.status(number) for number in (1, 2, 3)]
    for group in range(1, GROUPS + 1):
        assert len({status[group]["appliedIndex"] for status in statuses}) == 1, group


def test_A50_restarted_cluster_is_awake_and_whole(many):
    many.run("down")
    many.run("up", 3)
    many.wait_for_leaders(groups=GROUPS + 1)
    assert many.client().quiet.items.count_documents({}) == 50
