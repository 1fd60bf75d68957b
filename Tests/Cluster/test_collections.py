"""Options of find that are about indexes, the size of data, and the names of collections."""

import pytest
from bson import ObjectId
from test_indexes import code


@pytest.fixture
def stones(db):
    db.stones.insert_many([{"_id": i, "a": i // 10, "b": i % 10} for i in range(100)])
    db.stones.create_index([("a", 1), ("b", 1)], name="ab")
    return db.stones


def ids(cursor):
    return [d["_id"] for d in cursor]


def test_min_and_max_bound_the_keys_of_the_hinted_index(stones):
    low, high = [("a", 2), ("b", 7)], [("a", 3), ("b", 2)]
    assert ids(stones.find().min(low).max(high).hint("ab")) == [27, 28, 29, 30, 31]
    assert ids(stones.find().min(low).max(high).hint([("a", 1), ("b", 1)])) == [27, 28, 29, 30, 31]
    assert ids(stones.find({"b": {"$gt": 8}}).min(low).hint("ab")) == [29, 39, 49, 59, 69, 79, 89, 99]
    assert ids(stones.find().max(high).hint("ab").limit(3)) == [0, 1, 2]
    assert ids(stones.find().min(low).max(high).hint("ab").sort("_id", -1)) == [31, 30, 29, 28, 27]
    assert ids(stones.find().min([("_id", 90)]).max([("_id", 93)]).hint("_id_")) == [90, 91, 92]
    plan = stones.find().min(low).max(high).hint("ab").explain()
    assert "IXSCAN" in str(plan["queryPlanner"])


def test_min_and_max_are_checked(stones):
    def failure(**options):
        return code(lambda: stones.database.command("find", "stones", **options))

    assert failure(min={"a": 1, "b": 1}) == 51173
    assert failure(min={"a": 1, "b": 1}, hint={"$natural": 1}) == 51173
    assert failure(min={"a": 1}, hint="ab") == 51174
    assert failure(max={"b": 1, "a": 1}, hint="ab") == 51174
    assert failure(min={"a": 3, "b": 1}, max={"a": 2, "b": 9}, hint="ab") == 51175
    assert failure(min={"a": 3, "b": 1}, max={"a": 3, "b": 1}, hint="ab") == 51175
    assert failure(min={"a": 3}, hint="nope") == 2


def test_keys_instead_of_documents(db, stones):
    def find(**options):
        return db.command("find", "stones", returnKey=True, batchSize=1000, **options)["cursor"]["firstBatch"]

    assert find(filter={"a": 3, "b": {"$gt": 7}}, sort={"b": 1}) == [{"a": 3, "b": 8}, {"a": 3, "b": 9}]
    assert find(filter={"_id": 5}) == [{"_id": 5}]
    assert find(filter={"a": 2}, hint="ab", sort={"_id": -1}) == [{"a": 2, "b": b} for b in range(9, -1, -1)]
    assert find(hint={"$natural": 1}, limit=2) == [{}, {}]


def test_record_ids(db, stones):
    found = list(stones.find({}, {"a": 1}, show_record_id=True))
    assert len({bytes(d["$recordId"]) for d in found}) == 100
    in_order = list(stones.find({"a": 4}, {"b": 1, "_id": 0}, show_record_id=True).sort("b", 1))
    assert [d["b"] for d in in_order] == list(range(10))
    assert all(set(d) == {"b", "$recordId"} for d in in_order)
    log = db.create_collection("log", capped=True, size=10_000)
    log.insert_many([{"_id": "x"}, {"_id": "y"}])
    assert [d["$recordId"] for d in log.find(show_record_id=True)] == [1, 2]


def test_data_size(db, stones):
    whole = db.command("dataSize", stones.full_name)
    assert whole["numObjects"] == 100 and whole["size"] == db.command("collStats", "stones")["size"]
    part = db.command("dataSize", stones.full_name, keyPattern={"_id": 1}, min={"_id": 10}, max={"_id": 35})
    assert part["numObjects"] == 25 and part["size"] * 4 == whole["size"]
    by_index = db.command(
        "dataSize", stones.full_name, keyPattern={"a": 1, "b": 1}, min={"a": 0, "b": 0}, max={"a": 2, "b": 0})
    assert by_index["numObjects"] == 20
    assert db.command("dataSize", f"{db.name}.nope")["numObjects"] == 0
    assert code(db.command, "dataSize", "nodot") == 73
    assert code(db.command, "dataSize", stones.full_name, min={"_id": 1}) == 2
    db.create_collection("v", viewOn="stones")
    assert code(db.command, "dataSize", f"{db.name}.v") == 166


def test_rename_collection_is_checked(db, stones, shared_client):
    admin = shared_client.admin

    def failure(source, target, **options):
        return code(lambda: admin.command("renameCollection", source, to=target, **options))

    name = db.name
    db.other.insert_one({"_id": 1})
    assert code(lambda: db.command("renameCollection", f"{name}.stones", to=f"{name}.x")) == 13
    assert failure(f"{name}.stones", f"{name}.stones") == 20
    assert failure(f"{name}.nope", f"{name}.x") == 26
    assert failure(f"{name}.stones", f"{name}.other") == 48
    assert failure(f"{name}.stones", f"{name}.system.x") == 20
    assert failure(f"{name}.stones", f"{name}.$x") == 73
    assert failure(f"{name}.stones", "nodot") == 73
    assert failure(f"{name}.stones", f"{name}." + "x" * 255) == 73
    db.create_collection("v", viewOn="stones")
    assert failure(f"{name}.v", f"{name}.w") == 166
    assert failure(f"{name}.stones", f"{name}.v", dropTarget=True) == 48
    stones.rename("other", dropTarget=True)
    assert db.other.count_documents({}) == 100
    assert "ab" in db.other.index_information()
    log = db.create_collection("log", capped=True, size=1000)
    log.insert_many([{"_id": i} for i in (3, 1, 2)])
    log.rename("diary")
    assert ids(db.diary.find()) == [3, 1, 2]
    assert db.diary.options()["capped"] is True


def test_a_collection_moves_to_another_database(db, stones, shared_client):
    target = db.name + "_other"
    shared_client.drop_database(target)
    try:
        shared_client.admin.command("renameCollection", stones.full_name, to=f"{target}.moved")
        assert shared_client[target].moved.count_documents({}) == 100
        assert ids(shared_client[target].moved.find({"a": 3}).sort("b", 1)) == list(range(30, 40))
        assert "stones" not in db.list_collection_names()
        shared_client[target].moved.insert_one({"_id": ObjectId()})
    finally:
        shared_client.drop_database(target)
