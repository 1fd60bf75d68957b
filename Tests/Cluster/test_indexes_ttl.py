"""Documents that expire, on a cluster whose leaders look every second."""

import datetime
import time

import pytest
from conftest import Cluster
from pymongo.errors import OperationFailure


@pytest.fixture(scope="module")
def database():
    cluster = Cluster(environment={"CAIRN_STORAGE_TTL_SLEEP_SECONDS": "1"})
    try:
        yield cluster.up().client().ttl
    finally:
        cluster.remove()


def ago(seconds):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)


def wait(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def test_what_is_past_goes_and_the_rest_stays(database):
    stones = database.stones
    stones.create_index("t", expireAfterSeconds=60)
    assert stones.index_information()["t_1"]["expireAfterSeconds"] == 60
    stones.insert_many([{"_id": i, "t": ago(120)} for i in range(3000)])
    stones.insert_many([{"_id": "now", "t": ago(0)}, {"_id": "text", "t": "1970"}, {"_id": "none"}])
    stones.insert_one({"_id": "array", "t": [ago(0), ago(1000)]})
    stones.insert_one({"_id": "young array", "t": [ago(0), ago(10)]})
    wait(lambda: stones.count_documents({}) == 4)
    assert {d["_id"] for d in stones.find()} == {"now", "text", "none", "young array"}
    assert database.command("validate", "stones")["valid"]


def test_coll_mod_changes_when(database):
    database.later.create_index("t", expireAfterSeconds=100_000)
    database.later.insert_one({"t": ago(1000)})
    time.sleep(3)
    assert database.later.count_documents({}) == 1
    reply = database.command("collMod", "later", index={"keyPattern": {"t": 1}, "expireAfterSeconds": 10})
    assert (reply["expireAfterSeconds_old"], reply["expireAfterSeconds_new"]) == (100_000, 10)
    wait(lambda: database.later.count_documents({}) == 0)


def test_an_ordinary_index_becomes_one_that_expires(database):
    database.plain.create_index("t")
    database.plain.insert_one({"t": ago(1000)})
    reply = database.command("collMod", "plain", index={"name": "t_1", "expireAfterSeconds": 10})
    assert reply["expireAfterSeconds_new"] == 10 and "expireAfterSeconds_old" not in reply
    wait(lambda: database.plain.count_documents({}) == 0)


def test_a_partial_index_expires_only_what_is_in_it(database):
    database.some.create_index("t", expireAfterSeconds=1, partialFilterExpression={"done": True})
    database.some.insert_many([{"_id": 1, "t": ago(100), "done": True}, {"_id": 2, "t": ago(100)}])
    wait(lambda: database.some.count_documents({}) == 1)
    time.sleep(2)
    assert database.some.find_one()["_id"] == 2


def test_what_cannot_expire_is_refused(database):
    for keys, seconds in [([("a", 1), ("b", 1)], 5), ([("a", "hashed")], 5), ([("a", 1)], -1), ([("a", 1)], 2**31)]:
        with pytest.raises(OperationFailure) as caught:
            database.bad.create_index(keys, expireAfterSeconds=seconds)
        assert caught.value.code == 67, keys
    with pytest.raises(OperationFailure) as caught:
        database.bad.create_index("a", expireAfterSeconds="soon")
    assert caught.value.code == 67
