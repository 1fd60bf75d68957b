"""Collations of commands, collections and indexes, as drivers ask for them."""

import pytest
from pymongo import ReturnDocument, UpdateOne
from pymongo.collation import Collation
from pymongo.errors import DuplicateKeyError, OperationFailure
from test_indexes import code, plan

LOOSE = Collation("en", strength=1)
CASELESS = Collation("en", strength=2)
WORDS = ["apple", "Apple", "ápple", "banana", "Banana", "cherry", "Zebra"]


@pytest.fixture
def words(db):
    db.words.insert_many([{"_id": i, "w": word} for i, word in enumerate(WORDS)])
    return db.words


def ids(cursor):
    return sorted(d["_id"] for d in cursor)


def test_find_count_and_distinct_compare_under_it(words):
    assert ids(words.find({"w": "APPLE"})) == []
    assert ids(words.find({"w": "APPLE"}).collation(LOOSE)) == [0, 1, 2]
    assert ids(words.find({"w": "APPLE"}).collation(CASELESS)) == [0, 1]
    assert words.count_documents({"w": {"$in": ["BANANA", "x"]}}, collation=CASELESS) == 2
    assert len(words.distinct("w", collation=LOOSE)) == 4
    assert len(words.distinct("w", collation=CASELESS)) == 5
    in_order = [d["w"] for d in words.find().sort([("w", 1), ("_id", 1)]).collation(Collation("en"))]
    assert in_order == ["apple", "Apple", "ápple", "banana", "Banana", "cherry", "Zebra"]


def test_writes_find_what_they_are_about_under_it(words):
    assert words.update_one({"w": "CHERRY"}, {"$set": {"hit": 1}}, collation=LOOSE).modified_count == 1
    assert words.update_many({"w": "APPLE"}, {"$set": {"hit": 2}}, collation=LOOSE).modified_count == 3
    found = words.find_one_and_update(
        {"w": "BANANA"}, {"$set": {"hit": 3}}, sort=[("_id", -1)], collation=LOOSE, return_document=ReturnDocument.AFTER)
    assert (found["_id"], found["hit"]) == (4, 3)
    assert words.bulk_write([UpdateOne({"w": "ZEBRA"}, {"$set": {"hit": 4}}, collation=CASELESS)]).modified_count == 1
    assert words.delete_one({"w": "BANANA", "hit": 3}, collation=CASELESS).deleted_count == 1
    assert words.find_one({"_id": 4}) is None
    assert words.delete_many({"w": "APPLE"}, collation=CASELESS).deleted_count == 2
    upserted = words.update_one({"w": "NEW"}, {"$set": {"x": 1}}, upsert=True, collation=LOOSE)
    assert words.find_one({"_id": upserted.upserted_id})["w"] == "NEW"


def test_ids_that_are_equal_under_it_are_told_apart_by_writes(db):
    db.words.insert_many([{"_id": word, "n": i} for i, word in enumerate(["a", "A", "á", "b", "B"])])
    assert db.words.count_documents({"_id": "A"}, collation=LOOSE) == 3
    assert db.words.find_one_and_delete({"_id": "a"}, sort=[("n", -1)], collation=LOOSE)["n"] == 2
    assert db.words.update_many({"_id": "b"}, {"$set": {"hit": 1}}, collation=LOOSE).modified_count == 2


def test_aggregate_compares_under_it(words):
    groups = list(words.aggregate(
        [{"$match": {"w": {"$ne": "ZEBRA"}}}, {"$group": {"_id": "$w", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}],
        collation=LOOSE))
    assert [(g["_id"].lower().replace("á", "a"), g["n"]) for g in groups] == [("apple", 3), ("banana", 2), ("cherry", 1)]
    assert [d["w"] for d in words.aggregate([{"$sort": {"w": -1}}, {"$limit": 2}], collation=LOOSE)] == ["Zebra", "cherry"]
    assert code(words.aggregate, [{"$lookup": {"from": "x", "localField": "a", "foreignField": "b", "as": "c"}}], collation=LOOSE) == 115


def test_an_index_is_used_under_its_own_collation(words):
    words.create_index("w", name="loose", collation=LOOSE)
    words.create_index("w", name="plain")
    shown = words.index_information()["loose"]["collation"]
    assert (shown["locale"], shown["strength"], shown["caseLevel"]) == ("en", 1, False)
    assert "loose" in plan(words.find({"w": "APPLE"}).collation(LOOSE))
    assert "plain" in plan(words.find({"w": "apple"}))
    assert "COLLSCAN" in plan(words.find({"w": "apple"}).collation(CASELESS))
    assert ids(words.find({"w": {"$gte": "B", "$lt": "D"}}).collation(LOOSE)) == [3, 4, 5]
    assert words.database.command("validate", "words")["valid"]
    assert code(words.database.command, "dropIndexes", "words", index={"w": 1}) == 181
    words.drop_index("loose")


def test_a_unique_index_forbids_what_it_holds_for_equal(db):
    db.words.create_index("w", unique=True, collation=CASELESS)
    db.words.insert_one({"w": "One"})
    with pytest.raises(DuplicateKeyError):
        db.words.insert_one({"w": "ONE"})
    db.words.insert_one({"w": "Öne"})


def test_a_collections_default_is_inherited(db):
    db.create_collection("words", collation=LOOSE)
    assert db.words.options()["collation"]["strength"] == 1
    db.words.insert_many([{"_id": i, "w": word} for i, word in enumerate(WORDS)])
    db.words.create_index("w", name="inherited")
    db.words.create_index("w", name="simple", collation={"locale": "simple"})
    information = db.words.index_information()
    assert information["inherited"]["collation"]["strength"] == 1 and "collation" not in information["simple"]
    assert "inherited" in plan(db.words.find({"w": "APPLE"}))
    assert "simple" in plan(db.words.find({"w": "apple"}).collation(Collation("simple")))
    assert ids(db.words.find({"w": "APPLE"})) == [0, 1, 2]
    assert [g["n"] for g in db.words.aggregate([{"$group": {"_id": "$w", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}])] == [3, 2, 1, 1]


def test_numeric_ordering(db):
    db.words.insert_many([{"w": f"a{n}"} for n in (10, 9, 1, 100)])
    found = [d["w"] for d in db.words.find().sort("w", 1).collation(Collation("en", numericOrdering=True))]
    assert found == ["a1", "a9", "a10", "a100"]


def test_what_is_not_supported_is_refused(db):
    for options in ({"locale": "sv"}, {"locale": "en", "strength": 5}, {"locale": "en", "alternate": "shifted"}, {"locale": "en", "caseFirst": "upper"}):
        with pytest.raises(OperationFailure) as caught:
            db.words.find_one({"w": "a"}, collation=options)
        assert caught.value.code == 115, options
        assert code(db.words.create_index, "w", collation=options) == 115
    assert code(db.words.find_one, {}, collation={"locale": "en", "strength": 12}) == 2
