"""What the server says to fields, types and concerns that a command does not have, as MongoDB 7 says it."""

import bson
import pytest
from bson import Int64
from pymongo.errors import OperationFailure, WriteError
from pymongo.server_api import ServerApi


def refusal(database, command):
    with pytest.raises(OperationFailure) as caught:
        database.command(command)
    return caught.value.details


@pytest.mark.parametrize(
    "command",
    [
        {"find": "c", "foo": 1}, {"insert": "c", "documents": [{"a": 1}], "foo": 1},
        {"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}], "foo": 1},
        {"delete": "c", "deletes": [{"q": {}, "limit": 0}], "foo": 1},
        {"findAndModify": "c", "query": {}, "remove": True, "foo": 1}, {"count": "c", "foo": 1},
        {"distinct": "c", "key": "a", "foo": 1}, {"aggregate": "c", "pipeline": [], "cursor": {}, "foo": 1},
        {"getMore": Int64(1), "collection": "c", "foo": 1}, {"killCursors": "c", "cursors": [], "foo": 1},
        {"create": "d", "foo": 1}, {"drop": "c", "foo": 1}, {"dropDatabase": 1, "foo": 1},
        {"collMod": "c", "foo": 1}, {"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "a"}], "foo": 1},
        {"listIndexes": "c", "foo": 1}, {"dropIndexes": "c", "index": "*", "foo": 1},
        {"listCollections": 1, "foo": 1}, {"dbStats": 1, "foo": 1}, {"collStats": "c", "foo": 1},
        {"explain": {"find": "c"}, "foo": 1}, {"validate": "c", "foo": 1}, {"endSessions": [], "foo": 1},
        {"cairnLayout": 1, "foo": 1},
    ],
    ids=lambda command: next(iter(command)))
def test_an_unknown_field_is_refused_and_nothing_is_done(db, command):
    db.c.insert_one({"_id": 1})
    name = next(iter(command))
    details = refusal(db, command)
    assert details["errmsg"] == f"BSON field '{name}.foo' is an unknown field."
    assert (details["code"], details["codeName"]) == (40415, "IDLUnknownField")
    assert list(db.c.find()) == [{"_id": 1}]
    assert db.list_collection_names() == ["c"]


def test_generic_arguments_are_no_unknown_fields(db):
    db.c.insert_one({"_id": 1})
    reply = db.command(
        {"find": "c", "comment": {"any": "thing"}, "readConcern": {"level": "majority"}, "maxTimeMS": 5000,
         "$readPreference": {"mode": "nearest"}, "apiVersion": "1"})
    assert reply["cursor"]["firstBatch"] == [{"_id": 1}]
    db.command({"insert": "c", "documents": [{"_id": 2}], "writeConcern": {"w": "majority", "j": True, "wtimeout": 1000}, "comment": 5})
    assert db.c.count_documents({}) == 2


def test_unknown_fields_of_statements_are_refused(db):
    details = refusal(db, {"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": 1}}, "mutli": True}]})
    assert details["errmsg"] == "BSON field 'update.updates.mutli' is an unknown field."
    details = refusal(db, {"delete": "c", "deletes": [{"q": {}, "limit": 0, "all": True}]})
    assert details["errmsg"] == "BSON field 'delete.deletes.all' is an unknown field."
    assert refusal(db, {"update": "c", "updates": [{"q": 5, "u": {}}]})["code"] == 14


@pytest.mark.parametrize(
    "command, message",
    [
        ({"find": "c", "limit": "1"}, "BSON field 'find.limit' is the wrong type 'string', expected types '[long, int, decimal, double']"),
        ({"find": "c", "filter": []}, "BSON field 'find.filter' is the wrong type 'array', expected type 'object'"),
        ({"find": "c", "singleBatch": "x"}, "BSON field 'find.singleBatch' is the wrong type 'string', expected types '[bool, long, int, decimal, double']"),
        ({"aggregate": "c", "pipeline": {}, "cursor": {}}, "BSON field 'aggregate.pipeline' is the wrong type 'object', expected type 'array'"),
        ({"getMore": 1, "collection": "c"}, "BSON field 'getMore.getMore' is the wrong type 'int', expected type 'long'"),
        ({"distinct": "c", "key": 1}, "BSON field 'distinct.key' is the wrong type 'int', expected type 'string'"),
        ({"listCollections": 1, "filter": 5}, "BSON field 'listCollections.filter' is the wrong type 'int', expected type 'object'"),
    ])
def test_a_value_of_the_wrong_type_is_refused(db, command, message):
    details = refusal(db, command)
    assert (details["code"], details["codeName"]) == (14, "TypeMismatch")
    assert details["errmsg"] == message


def test_a_collection_name_that_is_none(db):
    details = refusal(db, {"find": 5})
    assert (details["code"], details["errmsg"]) == (73, "collection name has invalid type int")


def test_null_stands_for_an_absent_field(db):
    db.c.insert_one({"_id": 1})
    reply = db.command({"find": "c", "filter": None, "limit": None, "singleBatch": None, "sort": None})
    assert reply["cursor"]["firstBatch"] == [{"_id": 1}]


def test_only_version_1_of_the_stable_api(db):
    details = refusal(db, {"ping": 1, "apiVersion": "2"})
    assert (details["code"], details["codeName"]) == (322, "APIVersionError")
    assert refusal(db, {"ping": 1, "apiStrict": True})["code"] == 4886600
    assert refusal(db, {"ping": 1, "apiVersion": "1", "apiStrict": 1})["code"] == 14
    assert db.command({"ping": 1, "apiVersion": "1", "apiStrict": True, "apiDeprecationErrors": True})["ok"] == 1


def test_strict_clients_get_only_what_the_stable_api_has(db):
    strict = {"apiVersion": "1", "apiStrict": True}
    details = refusal(db, {"collStats": "c", **strict})
    assert (details["code"], details["codeName"]) == (323, "APIStrictError")
    assert details["errmsg"].startswith("Provided apiStrict:true, but the command collStats is not in API Version 1.")
    assert refusal(db, {"find": "c", "showRecordId": True, **strict})["code"] == 323
    assert refusal(db, {"distinct": "c", "key": "a", **strict})["code"] == 323
    assert db.command({"find": "c", **strict})["cursor"]["firstBatch"] == []


def test_a_driver_with_a_declared_api_works(shared_cluster):
    client = shared_cluster.client(server_api=ServerApi("1", strict=True, deprecation_errors=True))
    collection = client.test_api.c
    collection.drop()
    collection.insert_many([{"_id": i} for i in range(10)])
    assert collection.count_documents({}) == 10
    assert [d["_id"] for d in collection.find().sort("_id")] == list(range(10))
    with pytest.raises(OperationFailure) as caught:
        collection.distinct("_id")
    assert caught.value.code == 323
    client.drop_database("test_api")


@pytest.mark.parametrize("level", ["local", "available", "majority", "linearizable"])
def test_read_concern_levels(db, level):
    assert db.command({"find": "c", "readConcern": {"level": level}})["ok"] == 1


@pytest.mark.parametrize(
    "concern, code",
    [
        ({"level": "strong"}, 9), ({"level": 5}, 14), ({"level": "snapshot"}, 72), ({"depth": 1}, 72), ("local", 9),
        ({"afterClusterTime": 5}, 14),
    ])
def test_read_concerns_that_mean_nothing_are_refused(db, concern, code):
    assert refusal(db, {"find": "c", "readConcern": concern})["code"] == code


@pytest.mark.parametrize("concern, code", [({"w": True}, 9), ({"w": -1}, 9), ({"w": 51}, 9), ({"j": "x"}, 14), ({"foo": 1}, 40415), (1, 9)])
def test_write_concerns_that_mean_nothing_are_refused_before_the_write(db, concern, code):
    assert refusal(db, {"insert": "c", "documents": [{}], "writeConcern": concern})["code"] == code
    assert db.c.count_documents({}) == 0


def test_a_write_concern_that_cannot_be_had_is_told_after_the_write(db):
    reply = db.client[db.name].command(
        {"insert": "c", "documents": [{"_id": 1}], "writeConcern": {"w": "backup"}}, check=False)
    assert (reply["n"], reply["writeConcernError"]["code"]) == (1, 79)
    reply = db.command({"insert": "c", "documents": [{"_id": 2}], "writeConcern": {"w": 9}}, check=False)
    assert (reply["n"], reply["writeConcernError"]["code"]) == (1, 100)
    assert db.c.count_documents({}) == 2


@pytest.mark.parametrize("limit, message", [("x", "maxTimeMS must be a number"), (1.5, "maxTimeMS has non-integral value"), (-1, "-1 value for maxTimeMS is out of range [0, 2147483647]")])
def test_time_limits_that_are_none(db, limit, message):
    details = refusal(db, {"find": "c", "maxTimeMS": limit})
    assert (details["code"], details["errmsg"]) == (2, message)


def test_help_says_what_a_command_does_and_does_nothing(db):
    reply = db.command({"drop": "c", "help": True})
    assert reply["help"] == "help for: drop drops a collection"
