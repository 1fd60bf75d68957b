"""Hidden, hashed, partial, sparse and wildcard indexes as drivers meet them."""

import pytest
from pymongo import ASCENDING, HASHED
from pymongo.errors import DuplicateKeyError, OperationFailure, WriteError


def code(call, *arguments, **options):
    with pytest.raises(OperationFailure) as caught:
        call(*arguments, **options)
    return caught.value.code


def stages(plan):
    """The names of all stages and indexes of a plan."""
    found = set()
    if isinstance(plan, dict):
        for key, value in plan.items():
            if key in ("stage", "indexName"):
                found.add(value)
            found |= stages(value)
    elif isinstance(plan, list):
        for value in plan:
            found |= stages(value)
    return found


def plan(cursor):
    return stages(cursor.explain()["queryPlanner"])


def test_a_hidden_index_is_passed_over_until_it_is_shown(db):
    db.stones.insert_many([{"_id": i, "a": i % 10} for i in range(100)])
    db.stones.create_index("a", name="a", hidden=True)
    assert db.stones.index_information()["a"]["hidden"] is True
    assert "IXSCAN" not in plan(db.stones.find({"a": 3}))
    assert code(db.stones.find({"a": 3}).hint("a").to_list) == 2
    reply = db.command("collMod", "stones", index={"name": "a", "hidden": False})
    assert (reply["hidden_old"], reply["hidden_new"]) == (True, False)
    assert "hidden" not in db.stones.index_information()["a"]
    assert "a" in plan(db.stones.find({"a": 3}))
    assert db.stones.count_documents({"a": 3}) == 10
    assert "hidden_new" not in db.command("collMod", "stones", index={"keyPattern": {"a": 1}, "hidden": False})


def test_a_hidden_unique_index_still_forbids(db):
    db.stones.create_index("a", unique=True, hidden=True)
    db.stones.insert_one({"a": 1})
    with pytest.raises(DuplicateKeyError):
        db.stones.insert_one({"a": 1})


def test_coll_mod_of_an_index_is_checked(db):
    db.stones.create_index("a")
    db.stones.create_index([("a", 1), ("b", 1)], name="ab")
    assert code(db.command, "collMod", "stones", index={"name": "nope", "hidden": True}) == 27
    assert code(db.command, "collMod", "stones", index={"name": "_id_", "hidden": True}) == 2
    assert code(db.command, "collMod", "stones", index={"name": "a_1"}) == 72
    assert code(db.command, "collMod", "stones", index={"hidden": True}) == 72
    assert code(db.command, "collMod", "stones", index={"name": "a_1", "keyPattern": {"a": 1}, "hidden": True}) == 72
    assert code(db.command, "collMod", "stones", index={"name": "ab", "expireAfterSeconds": 5}) == 72


def test_a_hashed_index_answers_equality(db):
    db.stones.create_index([("a", HASHED)])
    db.stones.insert_many([{"_id": i, "a": f"t{i % 50}"} for i in range(500)])
    assert dict(db.stones.index_information()["a_hashed"]["key"]) == {"a": "hashed"}
    assert "a_hashed" in plan(db.stones.find({"a": "t7"}))
    assert sorted(d["_id"] for d in db.stones.find({"a": {"$in": ["t7", "t8"]}})) == [i for i in range(500) if i % 50 in (7, 8)]
    assert "COLLSCAN" in plan(db.stones.find({"a": {"$gt": "t7"}}))
    with pytest.raises(WriteError) as caught:
        db.stones.insert_one({"a": [1, 2]})
    assert caught.value.code == 16766


def test_a_hashed_index_over_arrays_is_not_built(db):
    db.stones.insert_one({"a": [1]})
    assert code(db.stones.create_index, [("a", HASHED)]) == 16766
    assert list(db.stones.index_information()) == ["_id_"]


def test_hashed_indexes_that_cannot_be_are_refused(db):
    assert code(db.stones.create_index, [("a", HASHED)], unique=True) == 16764
    assert code(db.stones.create_index, [("a", HASHED), ("b", HASHED)]) == 31303
    db.stones.create_index([("a", ASCENDING), ("b", HASHED)])


def test_a_partial_index_is_used_when_the_filter_implies_its_own(db):
    db.stones.insert_many([{"_id": i, "a": i, "open": i % 2 == 0} for i in range(50)])
    db.stones.create_index("a", name="p", partialFilterExpression={"a": {"$gte": 10}})
    assert "p" in plan(db.stones.find({"a": {"$gt": 20}}))
    assert "COLLSCAN" in plan(db.stones.find({"a": {"$gt": 5}}))
    assert db.stones.count_documents({"a": {"$gt": 5}}) == 44
    assert code(db.stones.create_index, "b", partialFilterExpression={"b": {"$ne": 1}}) == 67
    assert code(db.stones.create_index, "b", partialFilterExpression={"b": 1}, sparse=True) == 67


def test_the_same_name_or_key_again_is_a_conflict(db):
    db.stones.create_index("a", name="a")
    db.stones.create_index("a", name="a", hidden=True)
    assert code(db.stones.create_index, "b", name="a") == 86
    assert code(db.stones.create_index, "a", name="a", expireAfterSeconds=5) == 85
    assert code(db.stones.create_index, "a", name="other") == 85


def test_a_wildcard_index_serves_any_path(db):
    db.stones.create_index("$**", name="w")
    db.stones.insert_many([{"_id": i, "a": {"b": i, "c": [{"d": i % 3}]}} for i in range(60)])
    assert "w" in plan(db.stones.find({"a.b": {"$gte": 50}}))
    assert db.stones.count_documents({"a.b": {"$gte": 50}}) == 10
    assert db.stones.count_documents({"a.c.d": 1}) == 20
    assert db.stones.count_documents({"a.c": {"$exists": True}}) == 60
    assert "COLLSCAN" in plan(db.stones.find({"x": None}))
    assert code(db.stones.find({"x": None}).hint("w").to_list) == 291
    db.stones.update_one({"_id": 3}, {"$set": {"a.b": "text"}})
    assert [d["_id"] for d in db.stones.find({"a.b": "text"})] == [3]
    assert db.command("validate", "stones")["valid"]


def test_wildcard_projections_and_options_are_checked(db):
    db.stones.create_index("$**", name="w", wildcardProjection={"a": 1})
    assert db.stones.index_information()["w"]["wildcardProjection"] == {"a": 1}
    db.stones.insert_one({"a": 1, "b": 1})
    assert "w" in plan(db.stones.find({"a": 1}))
    assert "COLLSCAN" in plan(db.stones.find({"b": 1}))
    assert code(db.stones.create_index, "$**", name="u", unique=True) == 67
    assert code(db.stones.create_index, "$**", name="s", sparse=True) == 67
    assert code(db.stones.create_index, "$**", name="t", expireAfterSeconds=5) == 67
    assert code(db.stones.create_index, "b.$**", wildcardProjection={"a": 1}) == 9
    assert code(db.stones.create_index, [("$**", 1), ("a", 1)]) in (67, 238)
