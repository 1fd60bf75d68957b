"""Capped collections: in the order of insertion, no more than their limits, and cursors that wait at the end."""

import threading
import time

import pytest
from pymongo import CursorType, UpdateOne
from test_indexes import code


@pytest.fixture
def log(db):
    return db.create_collection("log", capped=True, size=100_000, max=10)


def ids(cursor):
    return [d["_id"] for d in cursor]


def in_order(collection):
    return ids(collection.find())


def check(db, name="log"):
    """What every replica keeps of the order agrees with its documents."""
    report = db.command("validate", name)
    assert report["valid"], report


def test_documents_come_in_the_order_of_insertion_and_the_oldest_go(db, log):
    log.insert_many([{"_id": i} for i in (5, 3, 9, 1)])
    assert in_order(log) == [5, 3, 9, 1]
    assert ids(log.find().sort("$natural", -1)) == [1, 9, 3, 5]
    assert ids(log.find().sort("$natural", -1).limit(2)) == [1, 9]
    assert ids(log.find({"_id": {"$lt": 9}})) == [5, 3, 1]
    log.insert_many([{"_id": 100 + i} for i in range(8)])
    assert in_order(log) == [9, 1, *range(100, 108)]
    assert log.find_one({"_id": 5}) is None
    assert log.count_documents({}) == 10
    for i in range(200, 325):
        log.insert_one({"_id": i})
    assert in_order(log) == list(range(315, 325))
    assert [d["_id"] for d in log.aggregate([{"$match": {"_id": {"$gt": 320}}}])] == [321, 322, 323, 324]
    check(db)


def test_an_id_that_went_may_come_again(db, log):
    log.insert_many([{"_id": i} for i in range(30)])
    log.insert_one({"_id": 3})
    assert in_order(log) == [*range(21, 30), 3]
    assert code(log.insert_one, {"_id": 25}) == 11000
    assert len(in_order(log)) == 10
    check(db)


def test_the_size_is_kept(db):
    log = db.create_collection("log", capped=True, size=1000)
    log.insert_many([{"_id": i, "text": "x" * 100} for i in range(50)])
    documents = list(log.find())
    size = len(documents) * len(__import__("bson").encode(documents[0]))
    assert 1000 - 130 < size <= 1000
    assert [d["_id"] for d in documents][-1] == 49
    assert code(log.insert_one, {"_id": 99, "text": "x" * 1000}) == 2
    assert [d["_id"] for d in log.find()] == [d["_id"] for d in documents]
    log.insert_one({"_id": 100, "text": "x" * 900})
    assert in_order(log) == [100]
    check(db)


def test_updates_keep_the_place_and_may_change_the_size(db):
    log = db.create_collection("log", capped=True, size=1000)
    log.insert_many([{"_id": i, "text": "x" * 50} for i in range(12)])
    before = in_order(log)
    log.update_one({"_id": before[2]}, {"$set": {"text": "y" * 300}})
    assert log.replace_one({"_id": before[3]}, {"text": ""}).modified_count == 1
    log.bulk_write([UpdateOne({"_id": i}, {"$set": {"n": i}}) for i in before])
    assert in_order(log) == before
    log.insert_one({"_id": 1000})
    after = in_order(log)
    assert after[-1] == 1000 and after[:-1] == before[-(len(after) - 1):] and len(after) < len(before)
    check(db)


def test_deletions_make_room(db, log):
    log.insert_many([{"_id": i} for i in range(10)])
    assert log.delete_many({"_id": {"$in": [0, 4, 9]}}).deleted_count == 3
    assert in_order(log) == [1, 2, 3, 5, 6, 7, 8]
    assert log.find_one_and_delete({"_id": 5})["_id"] == 5
    log.insert_many([{"_id": 20 + i} for i in range(4)])
    assert in_order(log) == [1, 2, 3, 6, 7, 8, 20, 21, 22, 23]
    log.insert_one({"_id": 30})
    assert in_order(log) == [2, 3, 6, 7, 8, 20, 21, 22, 23, 30]
    log.update_one({"_id": 31}, {"$set": {"a": 1}}, upsert=True)
    assert in_order(log)[-1] == 31
    log.delete_many({})
    assert in_order(log) == []
    log.insert_one({"_id": 1})
    assert in_order(log) == [1]
    check(db)


def test_indexes_follow(db, log):
    log.create_index("a")
    log.create_index("u", unique=True)
    log.insert_many([{"_id": i, "a": i % 3, "u": i} for i in range(40)])
    assert sorted(ids(log.find({"a": 0}))) == [30, 33, 36, 39]
    assert log.find_one({"u": 29}) is None
    log.insert_one({"_id": 100, "u": 29})
    assert code(log.insert_one, {"_id": 101, "u": 39}) == 11000
    assert code(log.create_index, "at", expireAfterSeconds=1) == 67
    check(db)


def test_what_was_kept_survives_a_change_of_leader(cluster, db, log):
    log.insert_many([{"_id": i} for i in range(25)])
    for number in (1, 2, 3):
        cluster.run("stop", number)
        cluster.run("start", number)
        cluster.wait_for_leaders()
        assert in_order(log) == list(range(15 + number - 1, 25 + number - 1))
        log.insert_one({"_id": 25 + number - 1})
    assert in_order(log) == list(range(18, 28))
    check(db)


def test_it_is_described(db, log):
    log.insert_one({"_id": 1})
    (info,) = db.list_collections(filter={"name": "log"})
    assert info["options"] == {"capped": True, "size": 100_000, "max": 10}
    assert log.options() == {"capped": True, "size": 100_000, "max": 10}
    stats = db.command("collStats", "log")
    assert (stats["capped"], stats["maxSize"], stats["max"], stats["sharded"]) == (True, 100_000, 10, False)
    assert len(stats["shards"]) == 1
    assert db.command("create", "log", capped=True, size=100_000, max=10)["ok"] == 1
    assert code(db.command, "create", "log", capped=True, size=100_000) == 48


def test_options_are_checked(db):
    assert code(db.command, "create", "c", capped=True) == 72
    assert code(db.command, "create", "c", size=1000) == 72
    assert code(db.command, "create", "c", max=10) == 72
    assert code(db.command, "create", "c", capped=True, size=0) == 51024
    assert code(db.command, "create", "c", capped=True, size=2**51) == 51024
    assert code(db.command, "create", "c", capped=True, size=1000, max=2**31) == 2
    assert code(db.command, "create", "c", capped=True, size=1000, placement="spread") == 72
    assert code(db.command, "create", "c", timeseries={"timeField": "t"}) == 115
    assert code(db.command, "create", "c", expireAfterSeconds=3) == 72
    assert code(db.command, "create", "c", validationLevel="sometimes") == 2
    assert code(db.command, "create", "c", validationAction="shout") == 2
    assert code(db.command, "create", "c", nonsense=1) == 40415
    assert db.list_collection_names() == []
    db.command("create", "c", capped=False)
    assert db.c.options() == {}
    db.create_collection("target", capped=True, size=1000)
    assert code(lambda: list(db.c.aggregate([{"$out": "target"}]))) == 17152


def test_coll_mod_changes_the_limits(db, log):
    log.insert_many([{"_id": i} for i in range(10)])
    db.command("collMod", "log", cappedMax=4)
    assert len(in_order(log)) == 10
    log.insert_one({"_id": 10})
    assert in_order(log) == [7, 8, 9, 10]
    db.command("collMod", "log", cappedSize=50, cappedMax=0)
    log.insert_one({"_id": 11})
    assert in_order(log) == [9, 10, 11][-(50 // 14):]
    assert log.options() == {"capped": True, "size": 50}
    db.plain.insert_one({})
    assert code(db.command, "collMod", "plain", cappedSize=1000) == 72
    assert code(db.command, "collMod", "log", cappedSize=0) == 51024
    check(db)


def test_convert_to_capped(cluster, db):
    db.plain.insert_many([{"_id": i, "text": "x" * 80} for i in range(1000)])
    db.plain.create_index("text")
    db.command("convertToCapped", "plain", size=10_000)
    options = db.plain.options()
    assert options["capped"] is True and options["size"] == 10_000
    kept = db.plain.count_documents({})
    assert 80 < kept <= 100
    assert list(db.plain.index_information()) == ["_id_"]
    for number in (1, 2, 3):
        cluster.node(number)[db.name].plain.insert_one({"_id": f"n{number}"})
    assert in_order(db.plain)[-3:] == ["n1", "n2", "n3"]
    assert db.list_collection_names() == ["plain"]
    assert code(db.command, "convertToCapped", "nope", size=1000) == 26
    assert code(db.command, "convertToCapped", "plain") == 40414
    check(db, "plain")


def test_no_write_is_lost_in_a_conversion(cluster, db):
    db.plain.insert_many([{"_id": i} for i in range(3000)])
    stopped, acknowledged = threading.Event(), []

    def write():
        mine = cluster.client()[db.name].plain
        i = 10_000
        while not stopped.is_set():
            mine.insert_one({"_id": i})
            acknowledged.append(i)
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.3)
    db.command("convertToCapped", "plain", size=10_000_000)
    time.sleep(0.3)
    stopped.set()
    writer.join()
    found = set(in_order(db.plain))
    assert set(acknowledged) <= found and set(range(3000)) <= found
    assert in_order(db.plain)[-1] == acknowledged[-1]
    check(db, "plain")


def test_clone_collection_as_capped(db):
    db.plain.insert_many([{"_id": i} for i in range(100)])
    db.command("cloneCollectionAsCapped", "plain", toCollection="copy", size=100_000)
    assert sorted(in_order(db.copy)) == list(range(100))
    assert db.copy.options()["capped"] is True
    assert db.plain.options() == {}
    assert code(db.command, "cloneCollectionAsCapped", "plain", toCollection="copy", size=1000) == 48
    assert code(db.command, "cloneCollectionAsCapped", "nope", toCollection="other", size=1000) == 26
    assert code(db.command, "cloneCollectionAsCapped", "plain", size=1000) == 40414


def test_a_tailable_cursor_goes_on_where_it_was(db, log):
    log.insert_many([{"_id": i} for i in range(3)])
    cursor = log.find(cursor_type=CursorType.TAILABLE)
    assert ids(cursor) == [0, 1, 2]
    assert cursor.alive
    assert ids(cursor) == []
    log.insert_many([{"_id": i} for i in range(3, 6)])
    assert ids(cursor) == [3, 4, 5]
    assert cursor.alive
    cursor.close()
    some = log.find({"_id": {"$gt": 3}}, {"_id": 1}, cursor_type=CursorType.TAILABLE, batch_size=1)
    assert ids(some) == [4, 5]
    log.insert_many([{"_id": 2}, {"_id": 7}] if log.find_one({"_id": 2}) is None else [{"_id": 7}])
    assert ids(some) == [7]
    few = log.find(cursor_type=CursorType.TAILABLE).skip(2).limit(3)
    assert ids(few) == [2, 3, 4]
    assert not few.alive


def test_awaiting_data_waits_and_wakes(db, log):
    log.insert_one({"_id": 0})
    cursor = log.find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(3000)
    assert next(cursor)["_id"] == 0
    began = time.monotonic()
    timer = threading.Timer(0.7, lambda: log.insert_one({"_id": 1}))
    timer.start()
    assert next(cursor)["_id"] == 1
    assert 0.5 < time.monotonic() - began < 2.5
    timer.join()
    began = time.monotonic()
    with pytest.raises(StopIteration):
        next(cursor)
    assert 2.8 < time.monotonic() - began < 6
    assert cursor.alive


def test_awaiting_data_passes_over_what_does_not_match(db, log):
    log.insert_one({"_id": 0})
    cursor = log.find({"_id": {"$gte": 5}}, cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(5000)
    with pytest.raises(StopIteration):
        next(cursor)  # the first batch waits for nothing
    writer = threading.Thread(target=lambda: [(time.sleep(0.1), log.insert_one({"_id": i})) for i in range(1, 7)])
    writer.start()
    assert next(cursor)["_id"] == 5
    writer.join()
    assert next(cursor)["_id"] == 6


def test_a_tailable_cursor_outlives_its_leader(cluster, db, log):
    log.insert_one({"_id": 0})
    cursor = log.find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(1000)
    assert next(cursor)["_id"] == 0
    router = cursor.address[1] - cluster.base + 1
    for i, number in enumerate(n for n in (1, 2, 3) if n != router):
        cluster.run("kill", number)
        cluster.run("start", number)
        cluster.wait_for_leaders()
        log.insert_one({"_id": i + 1})
        assert next(cursor)["_id"] == i + 1


def test_a_tailable_cursor_whose_place_is_gone_is_dead(cluster, db, log):
    log.insert_many([{"_id": i} for i in range(10)])
    cursor = log.find(cursor_type=CursorType.TAILABLE, batch_size=2)
    assert next(cursor)["_id"] == 0
    log.insert_many([{"_id": 100 + i} for i in range(10)])
    assert next(cursor)["_id"] == 1
    with pytest.raises(StopIteration):
        next(cursor)  # the driver ends what the server says is dead
    assert not cursor.alive
    node = cluster.node(1)[db.name]
    dead = node.command("find", "log", tailable=True, batchSize=2)["cursor"]["id"]
    log.insert_many([{"_id": 200 + i} for i in range(10)])
    assert code(node.command, "getMore", dead, collection="log") == 136
    gone = log.find(cursor_type=CursorType.TAILABLE)
    assert len(ids(gone)) == 10
    log.drop()
    with pytest.raises(StopIteration):
        next(gone)
    assert not gone.alive


def test_who_may_tail(cluster, db, log):
    empty = log.find(cursor_type=CursorType.TAILABLE)
    assert ids(empty) == [] and not empty.alive
    db.plain.insert_one({})
    assert code(lambda: list(db.plain.find(cursor_type=CursorType.TAILABLE))) == 2
    assert code(db.command, "find", "log", awaitData=True) == 9
    assert code(db.command, "find", "log", tailable=True, sort={"_id": 1}) == 2
    assert code(db.command, "find", "log", tailable=True, singleBatch=True) == 9
    log.insert_one({})
    node = cluster.node(1)[db.name]
    cursor = node.command("find", "log", tailable=True)["cursor"]["id"]
    assert code(node.command, "getMore", cursor, collection="log", maxTimeMS=10) == 2
