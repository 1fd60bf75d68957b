"""`let` of the commands that change documents: values, worked out once for the whole command."""

import pytest
from pymongo import ReturnDocument
from test_indexes import code


@pytest.fixture
def stones(db):
    db.stones.insert_many([{"_id": i, "a": i} for i in range(20)])
    return db.stones


def test_updates_see_the_variables_in_filter_and_pipeline(db, stones):
    reply = db.command(
        "update", "stones", let={"least": 15, "plus": {"$add": [50, 50]}},
        updates=[
            {"q": {"$expr": {"$gte": ["$a", "$$least"]}}, "u": [{"$set": {"b": "$$plus"}}], "multi": True},
            {"q": {"_id": 1}, "u": [{"$set": {"b": {"$add": ["$a", "$$plus"]}}}]},
        ])
    assert (reply["n"], reply["nModified"]) == (6, 6)
    assert sorted((d["_id"], d["b"]) for d in stones.find({"b": {"$exists": True}})) == [
        (1, 101), (15, 100), (16, 100), (17, 100), (18, 100), (19, 100)]


def test_an_update_of_one_document_in_any_group_sees_them(db, stones):
    result = stones.update_one(
        {"$expr": {"$eq": ["$a", "$$which"]}}, [{"$set": {"hit": "$$which"}}], let={"which": 7})
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert [d["_id"] for d in stones.find({"hit": 7})] == [7]


def test_an_upsert_sees_them(db, stones):
    reply = db.command(
        "update", "stones", let={"id": {"$concat": ["x", "y"]}, "v": 3},
        updates=[{"q": {"$expr": {"$eq": ["$_id", "$$id"]}}, "u": [{"$set": {"v": "$$v"}}], "upsert": True}])
    assert reply["n"] == 1
    assert stones.find_one({"_id": reply["upserted"][0]["_id"]})["v"] == 3


def test_deletions_and_find_and_modify_see_values_of_expressions(db, stones):
    assert stones.delete_many({"$expr": {"$lt": ["$a", "$$most"]}}, let={"most": {"$add": [2, 3]}}).deleted_count == 5
    changed = stones.find_one_and_update(
        {"$expr": {"$eq": ["$a", "$$which"]}}, [{"$set": {"b": "$$which"}}], return_document=ReturnDocument.AFTER,
        let={"which": {"$multiply": [2, 5]}})
    assert changed == {"_id": 10, "a": 10, "b": 10}
    assert [d["_id"] for d in stones.find({"$expr": {"$eq": ["$a", "$$w"]}}, let={"w": {"$add": [9, 9]}})] == [18]


def test_a_value_is_no_expression_once_it_is_worked_out(db, stones):
    stones.update_one({"_id": 1}, [{"$set": {"text": "$$text"}}], let={"text": {"$literal": "$a"}})
    assert stones.find_one({"_id": 1})["text"] == "$a"


def test_an_unknown_variable_is_an_error_of_the_statement(db, stones):
    assert code(stones.update_one, {"_id": 1}, [{"$set": {"b": "$$nothing"}}], let={"v": 1}) == 17276
