"""`bulkWrite`: operations in several collections of several databases with one command."""

import uuid

import bson
import pytest
from bson import SON
from conftest import raw_command
from pymongo import DeleteMany, DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateMany, UpdateOne
from pymongo.collation import Collation
from pymongo.errors import ClientBulkWriteException
from test_indexes import code


@pytest.fixture
def other(shared_client, db):
    name = db.name + "_other"
    shared_client.drop_database(name)
    yield shared_client[name]
    shared_client.drop_database(name)


def ns(collection):
    return collection.full_name


def test_the_server_is_one_that_has_it(db):
    hello = db.client.admin.command("hello")
    assert hello["maxWireVersion"] == 25
    info = db.client.server_info()
    assert info["version"].startswith("8.0.")
    assert info["versionArray"][:2] == [8, 0]
    parameter = db.client.admin.command("getParameter", featureCompatibilityVersion=1)
    assert parameter["featureCompatibilityVersion"]["version"] == "8.0"


@pytest.mark.parametrize("ordered", [True, False])
def test_all_kinds_in_several_databases(db, other, ordered):
    db.a.insert_many([{"_id": i, "v": i} for i in range(10)])
    result = db.client.bulk_write([
        InsertOne({"_id": 100}, namespace=ns(db.a)),
        InsertOne({"_id": 101}, namespace=ns(db.a)),
        InsertOne({"_id": 1, "x": 1}, namespace=ns(other.b)),
        UpdateOne({"_id": 3}, {"$set": {"v": 33}}, namespace=ns(db.a)),
        UpdateMany({"v": {"$gte": 5, "$lt": 10}}, {"$inc": {"v": 1}}, namespace=ns(db.a)),
        ReplaceOne({"_id": 7}, {"r": 1}, upsert=True, namespace=ns(other.c)),
        DeleteOne({"v": 1}, namespace=ns(db.a)),
        DeleteMany({"v": {"$in": [0, 2]}}, namespace=ns(db.a)),
    ], ordered=ordered, verbose_results=True)
    assert (result.inserted_count, result.matched_count, result.modified_count) == (3, 6, 6)
    assert (result.upserted_count, result.deleted_count) == (1, 3)
    assert sorted(result.insert_results) == [0, 1, 2]
    assert {i: (r.matched_count, r.modified_count) for i, r in result.update_results.items()} == {
        3: (1, 1), 4: (5, 5), 5: (1, 0)}
    assert result.update_results[5].upserted_id == 7
    assert {i: r.deleted_count for i, r in result.delete_results.items()} == {6: 1, 7: 2}
    assert sorted(d["_id"] for d in db.a.find()) == [3, 4, 5, 6, 7, 8, 9, 100, 101]
    assert [d["v"] for d in db.a.find({"_id": {"$lte": 9}}).sort("_id", 1)] == [33, 4, 6, 7, 8, 9, 10]
    assert other.b.find_one() == {"_id": 1, "x": 1}
    assert other.c.find_one() == {"_id": 7, "r": 1}


def test_an_ordered_one_stops_at_the_first_error(db, other):
    with pytest.raises(ClientBulkWriteException) as caught:
        db.client.bulk_write([
            InsertOne({"_id": 1}, namespace=ns(db.a)),
            InsertOne({"_id": 2}, namespace=ns(other.b)),
            InsertOne({"_id": 2}, namespace=ns(other.b)),
            InsertOne({"_id": 3}, namespace=ns(db.a)),
        ], verbose_results=True)
    (error,) = caught.value.write_errors
    assert (error["idx"], error["code"]) == (2, 11000)
    assert error["keyValue"] == {"_id": 2}
    assert caught.value.partial_result.inserted_count == 2
    assert sorted(caught.value.partial_result.insert_results) == [0, 1]
    assert (db.a.count_documents({}), other.b.count_documents({})) == (1, 1)


def test_an_unordered_one_goes_on(db, other):
    db.a.create_index("u", unique=True)
    with pytest.raises(ClientBulkWriteException) as caught:
        db.client.bulk_write([
            InsertOne({"_id": 1, "u": 1}, namespace=ns(db.a)),
            InsertOne({"_id": 2, "u": 1}, namespace=ns(db.a)),
            UpdateOne({"_id": 1}, {"$nope": 1}, namespace=ns(db.a)),
            UpdateOne({"_id": 1}, {"$set": {"x": 1}}, namespace=ns(db.a)),
            InsertOne({"_id": 1}, namespace=ns(other.b)),
            InsertOne({"_id": 3, "u": 3}, namespace=ns(db.a)),
        ], ordered=False, verbose_results=True)
    assert sorted((e["idx"], e["code"]) for e in caught.value.write_errors) == [(1, 11000), (2, 9)]
    result = caught.value.partial_result
    assert (result.inserted_count, result.modified_count) == (3, 1)
    assert sorted(result.insert_results) == [0, 4, 5]
    assert (db.a.count_documents({}), other.b.count_documents({})) == (2, 1)


def raw(db, operations, namespaces, **options):
    return db.client.admin.command(SON([
        ("bulkWrite", 1), ("ops", operations),
        ("nsInfo", [{"ns": ns(collection)} for collection in namespaces]), *options.items()]))


def test_results_come_through_a_cursor(cluster, db):
    node = cluster.node(1)
    mine = node[db.name]
    reply = raw(mine, [{"insert": 0, "document": {"_id": i}} for i in range(50)], [mine.a], cursor={"batchSize": 20})
    assert reply["nInserted"] == 50
    assert reply["cursor"]["ns"] == "admin.$cmd.bulkWrite"
    results = reply["cursor"]["firstBatch"]
    assert len(results) == 20
    cursor = reply["cursor"]["id"]
    while cursor:
        more = node.admin.command("getMore", cursor, collection="$cmd.bulkWrite")["cursor"]
        results += more["nextBatch"]
        cursor = more["id"]
    assert results == [{"ok": 1.0, "idx": i, "n": 1} for i in range(50)]


def test_errors_alone(db):
    operations = [{"insert": 0, "document": {"_id": i % 3}} for i in range(6)]
    reply = raw(db, operations, [db.a], errorsOnly=True, ordered=False)
    assert (reply["nErrors"], reply["nInserted"]) == (3, 3)
    assert [(r["idx"], r["ok"], r["code"]) for r in reply["cursor"]["firstBatch"]] == [
        (3, 0.0, 11000), (4, 0.0, 11000), (5, 0.0, 11000)]
    summary = raw(db, [{"insert": 0, "document": {"_id": 9}}], [db.a], errorsOnly=True)
    assert summary["cursor"]["firstBatch"] == [] and summary["nInserted"] == 1


def test_what_an_update_may_say(db):
    db.a.insert_many([{"_id": i, "v": i, "list": [1, 2, 3], "w": "Aa"[i % 2]} for i in range(6)])
    reply = raw(db, [
        {"update": 0, "filter": {"_id": 0}, "updateMods": {"$set": {"list.$[big]": 9}}, "arrayFilters": [{"big": {"$gte": 2}}]},
        {"update": 0, "filter": {"_id": 1}, "updateMods": [{"$set": {"v": {"$add": ["$$c", "$$shared"]}}}],
         "constants": {"c": 5}},
        {"update": 0, "filter": {"w": "A"}, "updateMods": {"$set": {"hit": 1}}, "multi": True,
         "collation": {"locale": "en", "strength": 1}},
        {"update": 0, "filter": {"v": {"$gte": 2}}, "updateMods": {"$set": {"last": 1}}, "sort": {"_id": -1}},
        {"delete": 0, "filter": {"$expr": {"$eq": ["$_id", {"$subtract": ["$$shared", 6]}]}}},
        {"update": 0, "filter": {"_id": 77}, "updateMods": {"$set": {"v": 1}}},
    ], [db.a], let={"shared": {"$add": [5, 5]}})
    assert reply["nErrors"] == 0, reply
    assert (reply["nMatched"], reply["nModified"], reply["nDeleted"]) == (9, 9, 1)
    assert [(r["n"], r.get("nModified")) for r in reply["cursor"]["firstBatch"]] == [
        (1, 1), (1, 1), (6, 6), (1, 1), (1, None), (0, 0)]
    assert db.a.find_one({"_id": 0})["list"] == [1, 9, 9]
    assert db.a.find_one({"_id": 1})["v"] == 15
    assert db.a.find_one({"last": 1})["_id"] == 5
    assert db.a.find_one({"_id": 4}) is None


def test_validation_may_be_bypassed(db):
    db.create_collection("strict", validator={"a": {"$exists": True}})
    operations = [{"insert": 0, "document": {"_id": 1}}, {"update": 0, "filter": {"_id": 1}, "updateMods": {"$set": {"b": 1}}}]
    reply = raw(db, operations, [db.strict])
    assert (reply["nErrors"], reply["cursor"]["firstBatch"][0]["code"]) == (1, 121)
    reply = raw(db, operations, [db.strict], bypassDocumentValidation=True)
    assert (reply["nErrors"], reply["nInserted"], reply["nModified"]) == (0, 1, 1)
    db.strict.insert_one({"_id": 2}, bypass_document_validation=True)
    assert code(db.strict.insert_one, {"_id": 3}) == 121
    assert code(db.strict.update_one, {"_id": 2}, {"$set": {"b": 1}}) == 121
    db.strict.update_one({"_id": 2}, {"$set": {"b": 1}}, bypass_document_validation=True)


def test_a_repeated_one_acts_once(db, other, shared_cluster):
    db.a.insert_many([{"_id": i, "n": 0} for i in range(20)])
    operations = [
        {"insert": 0, "document": {"_id": 100}},
        {"update": 0, "filter": {"n": 0}, "updateMods": {"$inc": {"n": 1}}},
        {"update": 0, "filter": {"_id": 3}, "updateMods": {"$inc": {"n": 1}}},
        {"update": 1, "filter": {"_id": 5}, "updateMods": {"$inc": {"n": 1}}, "upsert": True},
        {"delete": 0, "filter": {"n": 0, "_id": {"$gt": 10}}},
        {"insert": 1, "document": {"_id": 101}},
    ]
    # Not through a driver, which would put a session of its own in the place of this one.
    command = SON([
        ("bulkWrite", 1), ("ops", operations), ("nsInfo", [{"ns": ns(db.a)}, {"ns": ns(other.b)}]),
        ("lsid", {"id": bson.Binary.from_uuid(uuid.uuid4())}), ("txnNumber", bson.Int64(1)), ("$db", "admin")])
    first = raw_command(shared_cluster.addresses[0], command)
    again = [raw_command(shared_cluster.addresses[n % 3], command) for n in range(4)]
    for reply in [first, *again]:
        assert reply["nErrors"] == 0, reply
        assert [reply[k] for k in ("nInserted", "nMatched", "nModified", "nUpserted", "nDeleted")] == [2, 2, 2, 1, 1]
        assert reply["cursor"]["firstBatch"] == first["cursor"]["firstBatch"]
    assert sum(d["n"] for d in db.a.find({"_id": {"$lt": 100}})) == 2
    assert db.a.count_documents({}) == 20
    assert other.b.find_one({"_id": 5})["n"] == 1


def test_many_operations_over_many_groups(db, other):
    operations = [InsertOne({"_id": i}, namespace=ns(db.a if i % 3 else other.a)) for i in range(3000)]
    operations += [UpdateOne({"_id": i}, {"$set": {"v": i}}, namespace=ns(db.a)) for i in range(3000) if i % 3]
    result = db.client.bulk_write(operations, ordered=False)
    assert (result.inserted_count, result.modified_count) == (3000, 2000)
    assert db.a.count_documents({"v": {"$exists": True}}) == 2000
    assert other.a.count_documents({}) == 1000


def test_views_and_limits(db):
    db.create_collection("v", viewOn="a")
    reply = raw(db, [{"insert": 0, "document": {}}, {"insert": 1, "document": {}}], [db.v, db.a], ordered=False)
    assert (reply["nErrors"], reply["nInserted"]) == (1, 1)
    assert reply["cursor"]["firstBatch"][0]["code"] == 166
    assert code(db.command, SON([("bulkWrite", 1), ("ops", [{"insert": 0, "document": {}}]), ("nsInfo", [{"ns": ns(db.a)}])])) == 13
    assert code(raw, db, [], [db.a]) == 16
    assert code(raw, db, [{"insert": 1, "document": {}}], [db.a]) == 2
    assert code(raw, db, [{"upset": 0, "document": {}}], [db.a]) == 2
    assert code(raw, db, [{"insert": 0, "document": {}, "nonsense": 1}], [db.a]) == 40415
    assert code(raw, db, [{"insert": 0}], [db.a]) == 40414
    assert code(raw, db, [{"update": 0, "filter": {}, "updateMods": {"$set": {"a": 1}}, "constants": {"c": 1}}], [db.a]) == 51198
    assert code(raw, db, [{"insert": 0, "document": {}}], [db.a], nonsense=1) == 40415
    assert code(raw, db, [{"update": 0, "filter": {}, "updateMods": {"$set": {"a": 1}}, "multi": True, "sort": {"a": 1}}], [db.a]) == 9


def test_an_update_of_the_first_in_an_order(db):
    db.a.insert_many([{"_id": i, "v": (i * 7) % 20} for i in range(20)])
    assert db.a.update_one({"v": {"$gte": 5}}, {"$set": {"hit": 1}}, sort={"v": 1}).modified_count == 1
    assert db.a.find_one({"hit": 1})["v"] == 5
    assert db.a.replace_one({"v": {"$lt": 5}}, {"gone": 1}, sort={"v": -1}).modified_count == 1
    assert sorted(d["v"] for d in db.a.find({"v": {"$lt": 5}})) == [0, 1, 2, 3]
    assert code(db.command, "update", "a", updates=[{"q": {}, "u": {"$set": {"a": 1}}, "multi": True, "sort": {"v": 1}}]) == 9
