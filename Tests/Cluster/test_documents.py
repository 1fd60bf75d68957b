"""What applications do all day, through pymongo against three nodes."""

import datetime
import os
import threading

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from pymongo import ASCENDING, DESCENDING, DeleteOne, InsertOne, MongoClient, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne, WriteConcern
from conftest import raw_command
from pymongo.errors import BulkWriteError, CollectionInvalid, DuplicateKeyError, OperationFailure


def test_inserted_documents_come_back_as_they_were(db):
    document = {
        "_id": ObjectId(), "double": 1.5, "string": "stone ✓", "nested": {"a": [1, {"b": None}]}, "array": [1, "two", 3.0],
        "binary": b"\x00\xff", "flag": True, "date": datetime.datetime(1969, 7, 20, 20, 17), "none": None,
        "int32": 7, "int64": Int64(2**40), "decimal": Decimal128("1.10"), "regex": bson.regex.Regex("^a", "i"),
        "timestamp": bson.timestamp.Timestamp(5, 6), "min": bson.min_key.MinKey(), "max": bson.max_key.MaxKey(),
        "code": bson.code.Code("x"),
    }
    db.stones.insert_one(document)
    assert db.stones.find_one({"_id": document["_id"]}) == document


def test_insert_many_is_found_by_id_by_filter_and_by_all(db):
    db.stones.insert_many([{"_id": i, "n": i % 10} for i in range(1000)])
    assert db.stones.count_documents({}) == 1000
    assert db.stones.estimated_document_count() == 1000
    assert [d["_id"] for d in db.stones.find({"n": 3}).sort("_id", 1)] == list(range(3, 1000, 10))
    assert db.stones.find_one({"_id": 500}) == {"_id": 500, "n": 0}
    assert db.stones.find_one({"_id": 5000}) is None


def test_filters_sorts_skips_limits_and_projections(db):
    db.stones.insert_many([{"_id": i, "a": i % 7, "b": {"c": i}, "tags": ["x", str(i % 3)]} for i in range(200)])
    found = db.stones.find({"a": {"$gte": 5}, "tags": "1"}, {"b.c": 1, "_id": 0}).sort([("a", DESCENDING), ("b.c", ASCENDING)])
    expected = sorted((i for i in range(200) if i % 7 >= 5 and i % 3 == 1), key=lambda i: (-(i % 7), i))
    assert [d["b"]["c"] for d in found] == expected
    assert [d["_id"] for d in db.stones.find().sort("_id", -1).skip(10).limit(5)] == [189, 188, 187, 186, 185]
    assert db.stones.count_documents({"$or": [{"_id": {"$lt": 3}}, {"b.c": {"$in": [100, 101]}}]}) == 5
    assert db.stones.count_documents({"tags": {"$all": ["x", "2"]}}) == 66
    assert db.stones.count_documents({"tags": {"$elemMatch": {"$regex": "^2"}}}) == 66


def test_updates_change_what_they_say(db):
    db.stones.insert_many([{"_id": i, "n": 0, "list": [1, 2]} for i in range(100)])
    assert db.stones.update_one({"_id": 5}, {"$inc": {"n": 2}, "$push": {"list": 3}}).modified_count == 1
    assert db.stones.find_one({"_id": 5}) == {"_id": 5, "n": 2, "list": [1, 2, 3]}
    result = db.stones.update_many({"_id": {"$gte": 50}}, {"$set": {"high": True}})
    assert (result.matched_count, result.modified_count) == (50, 50)
    assert db.stones.count_documents({"high": True}) == 50
    assert db.stones.update_one({"high": True, "n": 0}, {"$set": {"n": 9}}).modified_count == 1
    assert db.stones.count_documents({"n": 9}) == 1
    upserted = db.stones.update_one({"name": "new"}, {"$set": {"n": 1}}, upsert=True)
    assert upserted.upserted_id is not None
    assert db.stones.find_one({"name": "new"})["n"] == 1
    assert db.stones.replace_one({"_id": 1}, {"fresh": 1}).modified_count == 1
    assert db.stones.find_one({"_id": 1}) == {"_id": 1, "fresh": 1}
    assert db.stones.update_one({"_id": 2}, {"$set": {"n": 0}}).modified_count == 0


def test_deletes_remove_what_they_say(db):
    db.stones.insert_many([{"_id": i, "n": i % 4} for i in range(100)])
    assert db.stones.delete_one({"_id": 3}).deleted_count == 1
    assert db.stones.delete_one({"n": 3}).deleted_count == 1
    assert db.stones.delete_many({"n": 0}).deleted_count == 25
    assert db.stones.count_documents({}) == 73


def test_find_and_modify_returns_before_or_after(db):
    db.stones.insert_many([{"_id": i, "rank": 10 - i} for i in range(10)])
    assert db.stones.find_one_and_update({"_id": 4}, {"$inc": {"rank": 1}}) == {"_id": 4, "rank": 6}
    assert db.stones.find_one_and_update({"_id": 4}, {"$inc": {"rank": 1}}, return_document=ReturnDocument.AFTER)["rank"] == 8
    assert db.stones.find_one_and_delete({}, sort=[("rank", 1)])["_id"] == 9
    made = db.stones.find_one_and_update({"_id": 77}, {"$set": {"rank": 1}}, upsert=True, return_document=ReturnDocument.AFTER)
    assert made == {"_id": 77, "rank": 1}
    assert db.stones.find_one_and_replace({"_id": "none"}, {"a": 1}) is None


def test_a_taken_id_is_a_duplicate_key(db):
    db.stones.insert_one({"_id": "taken"})
    with pytest.raises(DuplicateKeyError) as error:
        db.stones.insert_one({"_id": "taken"})
    assert error.value.code == 11000
    assert error.value.details["keyPattern"] == {"_id": 1}
    assert error.value.details["keyValue"] == {"_id": "taken"}
    assert "E11000 duplicate key error" in str(error.value)


def test_an_ordered_batch_stops_at_its_first_error_and_an_unordered_one_goes_on(db):
    db.stones.insert_one({"_id": 50})
    with pytest.raises(BulkWriteError) as error:
        db.stones.insert_many([{"_id": i} for i in range(100)])
    assert error.value.details["nInserted"] == 50
    assert [e["index"] for e in error.value.details["writeErrors"]] == [50]
    assert db.stones.count_documents({}) == 51
    with pytest.raises(BulkWriteError) as error:
        db.stones.insert_many([{"_id": i} for i in range(100)], ordered=False)
    assert len(error.value.details["writeErrors"]) == 51
    assert db.stones.count_documents({}) == 100


def test_bulk_writes_mix_operations(db):
    result = db.stones.bulk_write(
        [InsertOne({"_id": 1}), InsertOne({"_id": 2}), UpdateOne({"_id": 1}, {"$set": {"a": 1}}),
         UpdateMany({}, {"$set": {"b": 2}}), ReplaceOne({"_id": 3}, {"c": 3}, upsert=True), DeleteOne({"_id": 2})])
    assert (result.inserted_count, result.modified_count, result.upserted_count, result.deleted_count) == (2, 3, 1, 1)
    assert list(db.stones.find().sort("_id", 1)) == [{"_id": 1, "a": 1, "b": 2}, {"_id": 3, "c": 3}]


def test_indexes_are_listed_used_and_dropped(db):
    db.stones.insert_many([{"_id": i, "a": i % 50, "b": i, "tags": [i % 3, i % 5]} for i in range(2000)])
    assert db.stones.create_index([("a", 1), ("b", -1)]) == "a_1_b_-1"
    assert db.stones.create_index("tags") == "tags_1"
    assert set(db.stones.index_information()) == {"_id_", "a_1_b_-1", "tags_1"}
    plan = str(db.stones.find({"a": 7}).sort("b", -1).explain())
    assert "IXSCAN" in plan and "a_1_b_-1" in plan
    assert [d["b"] for d in db.stones.find({"a": 7}).sort("b", -1)] == list(range(1957, 0, -50))
    assert db.stones.count_documents({"tags": 4}) == len([i for i in range(2000) if 4 in (i % 3, i % 5)])
    db.stones.update_many({"a": 7}, {"$set": {"a": 1000}})
    assert db.stones.count_documents({"a": 1000}) == 40
    assert db.stones.count_documents({"a": 7}) == 0
    db.stones.drop_index("tags_1")
    assert set(db.stones.index_information()) == {"_id_", "a_1_b_-1"}
    assert "COLLSCAN" in str(db.stones.find({"tags": 4}).explain())


def test_a_unique_index_lets_one_of_many_win(db):
    db.users.create_index("email", unique=True)
    won, lost = [], []

    def fight(number):
        for attempt in range(20):
            try:
                db.users.insert_one({"_id": f"{number}-{attempt}", "email": f"{attempt}@example.org"})
                won.append(attempt)
            except DuplicateKeyError as error:
                assert error.details["keyPattern"] == {"email": 1}
                lost.append(attempt)

    threads = [threading.Thread(target=fight, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20)) and len(lost) == 140
    assert db.users.count_documents({}) == 20


def test_a_unique_index_moves_an_empty_collection_to_one_group_and_refuses_a_populated_one(db):
    db.create_collection("empty")
    db.empty.create_index("key", unique=True)
    db.empty.insert_one({"key": 1})
    with pytest.raises(DuplicateKeyError):
        db.empty.insert_one({"key": 1})
    db.full.insert_many([{"_id": i, "key": i} for i in range(100)])
    with pytest.raises(OperationFailure) as error:
        db.full.create_index("key", unique=True)
    assert error.value.code == 67


def test_a_cursor_of_ten_thousand_documents_returns_each_once(db):
    db.stones.insert_many([{"_id": i, "text": "x" * 100} for i in range(10_000)])
    assert sorted(d["_id"] for d in db.stones.find({}, batch_size=100)) == list(range(10_000))
    ordered = [d["_id"] for d in db.stones.find({}, batch_size=333).sort("_id", -1)]
    assert ordered == list(range(9_999, -1, -1))


def test_an_open_cursor_sees_the_moment_at_which_it_was_opened(db):
    db.stones.insert_many([{"_id": i} for i in range(3000)])
    cursor = db.stones.find({}, batch_size=50)
    first = next(cursor)
    db.stones.delete_many({"_id": {"$ne": first["_id"]}})
    db.stones.insert_many([{"_id": 10_000 + i} for i in range(100)])
    assert sorted([first["_id"]] + [d["_id"] for d in cursor]) == list(range(3000))


def test_killed_and_unknown_cursors_are_not_found(cluster, db):
    # A cursor lives on the node that opened it, as it does on a mongos.
    db = cluster.node(2)[db.name]
    db.stones.insert_many([{"_id": i} for i in range(1000)])
    cursor = db.stones.find({}, batch_size=10)
    next(cursor)
    number = cursor.cursor_id
    assert db.command("killCursors", "stones", cursors=[number])["cursorsKilled"] == [number]
    with pytest.raises(OperationFailure) as error:
        db.command("getMore", Int64(number), collection="stones")
    assert error.value.code == 43


def test_aggregations_over_all_groups(db):
    db.stones.insert_many([{"_id": i, "kind": i % 4, "weight": i, "parts": [i, i + 1]} for i in range(1000)])
    db.kinds.insert_many([{"_id": k, "name": f"kind {k}"} for k in range(4)])
    groups = list(db.stones.aggregate([
        {"$match": {"weight": {"$gte": 100}}},
        {"$group": {"_id": "$kind", "n": {"$sum": 1}, "mean": {"$avg": "$weight"}, "top": {"$max": "$weight"}, "low": {"$min": "$weight"}}},
        {"$sort": {"_id": 1}},
    ]))
    expected = [[i for i in range(100, 1000) if i % 4 == k] for k in range(4)]
    assert groups == [
        {"_id": k, "n": len(w), "mean": sum(w) / len(w), "top": max(w), "low": min(w)} for k, w in enumerate(expected)]
    assert next(db.stones.aggregate([{"$unwind": "$parts"}, {"$count": "n"}])) == {"n": 2000}
    joined = list(db.stones.aggregate([
        {"$match": {"_id": {"$lt": 8}}}, {"$sort": {"_id": 1}},
        {"$lookup": {"from": "kinds", "localField": "kind", "foreignField": "_id", "as": "k"}},
        {"$project": {"name": {"$first": "$k.name"}, "double": {"$multiply": ["$weight", 2]}}},
    ]))
    assert joined == [{"_id": i, "name": f"kind {i % 4}", "double": 2 * i} for i in range(8)]
    assert sorted(db.stones.distinct("kind")) == [0, 1, 2, 3]
    paged = list(db.stones.aggregate([{"$sort": {"weight": -1}}, {"$skip": 10}, {"$limit": 3}, {"$set": {"x": 1}}, {"$unset": "parts"}]))
    assert paged == [{"_id": i, "kind": i % 4, "weight": i, "x": 1} for i in (989, 988, 987)]


def test_collections_and_databases_are_listed_renamed_and_dropped(db):
    db.create_collection("made")
    with pytest.raises(CollectionInvalid):
        db.create_collection("made")
    db.made.insert_one({"_id": 1})
    assert "made" in db.list_collection_names()
    assert db.name in db.client.list_database_names()
    db.made.rename("renamed")
    assert db.list_collection_names() == ["renamed"]
    assert db.renamed.find_one() == {"_id": 1}
    db.renamed.drop()
    assert db.list_collection_names() == []
    assert db.renamed.find_one() is None
    db.renamed.insert_one({"_id": 2})
    assert list(db.renamed.find()) == [{"_id": 2}]
    assert db.command("dbStats")["ok"] == 1 and db.command("collStats", "renamed")["count"] == 1


def test_mistakes_get_mongodb_codes(db):
    cases = [
        ({"nosuchcommand": 1}, 59),
        ({"find": "c", "filter": {"a": {"$nope": 1}}}, 2),
        ({"aggregate": "c", "pipeline": [{"$nope": 1}], "cursor": {}}, 40324),
        ({"getMore": Int64(12345), "collection": "c"}, 43),
        ({"drop": ""}, 73),
    ]
    for command, code in cases:
        with pytest.raises(OperationFailure) as error:
            db.command(bson.son.SON(command))
        assert error.value.code == code, command
    db.c.insert_one({"_id": 1})
    with pytest.raises(OperationFailure) as error:
        db.c.update_one({"_id": 1}, {"$set": {"_id": 2}})
    assert error.value.code == 66
    with pytest.raises(OperationFailure) as error:
        db.client.start_session().with_transaction(lambda s: db.c.insert_one({}, session=s))
    assert error.value.code in (20, 115, 263)


def test_a_retried_write_is_applied_once(cluster, db):
    """The same lsid and txnNumber, sent again and through another node, answers the same and changes nothing."""
    db.counters.insert_one({"_id": "c", "n": 0})
    session = {"id": bson.Binary(os.urandom(16), 4)}

    def send(number, command):
        # A driver puts a session of its own into every command, so this one goes out by hand.
        return raw_command(cluster.addresses[number - 1], {**command, "$db": db.name})

    command = bson.son.SON([
        ("update", "counters"), ("updates", [{"q": {"_id": "c"}, "u": {"$inc": {"n": 1}}}]),
        ("lsid", session), ("txnNumber", Int64(1))])
    answers = [send(number, command) for number in (1, 2, 3, 1)]
    assert [(a["n"], a["nModified"]) for a in answers] == [(1, 1)] * 4
    assert db.counters.find_one({"_id": "c"})["n"] == 1
    find_and_modify = bson.son.SON([
        ("findAndModify", "counters"), ("query", {"_id": "c"}), ("update", {"$inc": {"n": 1}}), ("new", True),
        ("lsid", session), ("txnNumber", Int64(2))])
    values = [send(number, find_and_modify)["value"]["n"] for number in (1, 2, 3)]
    assert values == [2, 2, 2]
    insert = bson.son.SON([
        ("insert", "counters"), ("documents", [{"_id": "x"}, {"_id": "y"}, {"_id": "z"}]),
        ("lsid", session), ("txnNumber", Int64(3))])
    assert [send(number, insert)["n"] for number in (1, 2)] == [3, 3]
    assert db.counters.count_documents({}) == 4
    assert send(1, command)["code"] == 225


@pytest.mark.parametrize("compressor", ["snappy", "zlib"])
def test_compressed_messages(shared_cluster, compressor):
    if compressor == "snappy":
        pytest.importorskip("snappy")
    with MongoClient(shared_cluster.uri, compressors=compressor) as client:
        collection = client.compressed[compressor]
        collection.drop()
        collection.insert_many([{"_id": i, "text": "stone " * 200} for i in range(500)])
        assert sum(1 for _ in collection.find()) == 500


def test_what_drivers_and_shells_ask(shared_cluster):
    admin = shared_cluster.node(1).admin
    hello = admin.command("hello")
    assert hello["msg"] == "isdbgrid" and hello["maxWireVersion"] == 25 and hello["isWritablePrimary"]
    for command in ["ping", "buildInfo", "getCmdLineOpts", "connectionStatus", "whatsmyuri", "hostInfo", "serverStatus",
                    "listCommands", "currentOp", "startSession", "isMaster", "buildinfo", "getlasterror"]:
        assert admin.command(command)["ok"] == 1, command
    assert admin.command("getParameter", "*")["ok"] == 1
    assert admin.command("endSessions", [])["ok"] == 1


def test_unacknowledged_writes_arrive(db):
    collection = db.get_collection("quiet", write_concern=WriteConcern(w=0))
    collection.insert_one({"_id": 1})
    for _ in range(100):
        if db.quiet.find_one({"_id": 1}):
            return
        threading.Event().wait(0.05)
    pytest.fail("the write never arrived")


def test_documents_up_to_sixteen_mebibytes(db):
    big = "x" * (16 * 1024 * 1024 - 200)
    db.large.insert_one({"_id": 1, "text": big})
    assert db.large.find_one({"_id": 1})["text"] == big
    with pytest.raises(Exception):
        db.large.insert_one({"_id": 2, "text": big + "y" * 400})
    assert db.large.count_documents({}) == 1


def test_scans_from_many_clients_at_once_all_end(shared_cluster):
    """Answers that come while a router is about to wait for them wake it all the same."""
    collection = shared_cluster.client().scans.many
    collection.drop()
    collection.insert_many([{"_id": number, "text": "x" * 300} for number in range(6000)])
    counts, errors = [], []

    def scan(number):
        try:
            for _ in range(60):
                client = MongoClient(
                    f"mongodb://{shared_cluster.addresses[number % 3]}/?directConnection=true", socketTimeoutMS=10000,
                    retryReads=False)
                counts.append(len(list(client.scans.many.find({}, {"_id": 1}))))
                client.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=scan, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:2]
    assert counts == [6000] * 360


def test_validate_compares_indexes_with_documents(db):
    with pytest.raises(OperationFailure) as refused:
        db.command("validate", "stones")
    assert refused.value.code == 26
    db.stones.insert_many([{"_id": n, "color": n % 3, "tags": [n, n + 1]} for n in range(300)])
    db.stones.create_index("color")
    db.stones.create_index("tags")
    found = db.command("validate", "stones", full=True)
    assert found["valid"] and found["errors"] == [] and found["nrecords"] == 300 and found["nInvalidDocuments"] == 0
    assert found["nIndexes"] == 3 and found["keysPerIndex"] == {"_id_": 300, "color_1": 300, "tags_1": 600}
    assert all(index == {"valid": True} for index in found["indexDetails"].values())
    assert db.validate_collection("stones")["valid"]
    with pytest.raises(OperationFailure) as refused:
        db.command("validate", "stones", repair=True)
    assert refused.value.code == 115


def test_the_fields_of_a_reference_are_found_everywhere(db):
    """`$ref`, `$id` and `$db` are the only names with a dollar that paths may contain; mappers lean on them."""
    db.makers.insert_many([{"_id": n, "name": f"maker {n}"} for n in range(3)])
    db.stones.insert_many([{"_id": n, "maker": bson.DBRef("makers", n % 3), "n": n} for n in range(9)])
    db.stones.create_index([("maker.$id", 1), ("n", -1)])
    assert [d["_id"] for d in db.stones.find({"maker.$id": 1}).sort("n", -1)] == [7, 4, 1]
    assert [d["_id"] for d in db.stones.find({"maker": bson.DBRef("makers", 2)}).sort("maker.$id", 1).sort("_id", 1)] == [2, 5, 8]
    assert db.stones.find_one({"_id": 4}, {"maker.$id": 1}) == {"_id": 4, "maker": {"$id": 1}}
    assert db.stones.distinct("maker.$id") == [0, 1, 2]
    joined = list(db.stones.aggregate([
        {"$match": {"maker.$id": {"$gt": 0}}},
        {"$lookup": {"from": "makers", "localField": "maker.$id", "foreignField": "_id", "as": "by"}},
        {"$lookup": {"from": "makers", "let": {"id": "$maker.$id"}, "as": "same", "pipeline": [
            {"$match": {"$expr": {"$eq": ["$_id", "$$id"]}}}]}},
        {"$unwind": "$by"}, {"$group": {"_id": "$maker.$id", "names": {"$addToSet": "$by.name"}, "same": {"$first": "$same.name"}}},
        {"$sort": {"_id": 1}},
    ]))
    assert joined == [{"_id": n, "names": [f"maker {n}"], "same": [f"maker {n}"]} for n in (1, 2)]
    db.stones.update_one({"_id": 0}, {"$set": {"maker.$id": 2}})
    assert db.stones.find_one({"_id": 0})["maker"] == bson.DBRef("makers", 2)
    with pytest.raises(OperationFailure) as refused:
        list(db.stones.aggregate([{"$project": {"x": "$maker.$other"}}]))
    assert refused.value.code == 16410
