"""Sorts and groups that do not fit into memory go through the disk, and leave nothing there."""

import pathlib
import time

import pytest
from pymongo.errors import OperationFailure

NO_DISK_USE = 292


def spilled_files(cluster):
    return [
        file for number in range(1, cluster.size + 1)
        for file in pathlib.Path(cluster.directory, f"node-{number}", "data", "spill").glob("*")
    ]


@pytest.fixture(scope="module")
def wide(shared_cluster):
    """A collection of 150 MB, of which one group has 25 MB; stages make it wider."""
    client = shared_cluster.client()
    collection = client["spill"]["wide"]
    collection.drop()
    for start in range(0, 1500, 100):
        collection.insert_many([{"_id": i, "k": (i * 7919) % 1500, "pad": "x" * 100_000} for i in range(start, start + 100)])
    yield collection
    client.drop_database("spill")


def gone(cluster):
    deadline = time.monotonic() + 20
    while spilled_files(cluster) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not spilled_files(cluster)


WIDER = {"$set": {"pad": {"$concat": ["$pad", "$pad", "$pad", "$pad", "$pad", "$pad"]}}}


def test_a_sort_that_does_not_fit_uses_the_disk(cluster, wide):
    pipeline = [WIDER, {"$sort": {"k": 1}}, {"$project": {"k": 1}}]
    assert [d["k"] for d in wide.aggregate(pipeline, maxTimeMS=120_000)] == list(range(1500))
    with pytest.raises(OperationFailure) as failure:
        list(wide.aggregate(pipeline, allowDiskUse=False, maxTimeMS=120_000))
    assert failure.value.code == NO_DISK_USE
    assert gone(cluster)


def test_a_group_that_does_not_fit_uses_the_disk(cluster, wide):
    pipeline = [
        {"$group": {"_id": {"k": "$k", "pad": "$pad"}, "n": {"$sum": 1}, "first": {"$first": "$pad"}}},
        {"$group": {"_id": None, "n": {"$sum": "$n"}, "groups": {"$sum": 1}}},
    ]
    assert list(wide.aggregate(pipeline, maxTimeMS=120_000)) == [{"_id": None, "n": 1500, "groups": 1500}]
    with pytest.raises(OperationFailure) as failure:
        list(wide.aggregate(pipeline, allowDiskUse=False, maxTimeMS=120_000))
    assert failure.value.code == NO_DISK_USE
    assert gone(cluster)


def test_a_cursor_that_is_closed_leaves_nothing_on_the_disk(cluster, wide):
    cursor = wide.aggregate([WIDER, {"$sort": {"k": -1}}], batchSize=2, maxTimeMS=120_000)
    assert next(cursor)["k"] == 1499
    cursor.close()
    assert gone(cluster)
