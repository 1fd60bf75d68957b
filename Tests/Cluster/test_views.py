"""Views: pipelines with a name, which are read like collections and not written."""

import pytest
from pymongo import ASCENDING, DESCENDING
from pymongo.collation import Collation
from pymongo.errors import OperationFailure
from test_indexes import code, stages

VIEW, LOOSE = 166, Collation("en", strength=1)


@pytest.fixture
def stones(db):
    db.stones.insert_many([{"_id": i, "a": i % 5, "tags": ["x", f"t{i % 3}"], "w": "Aa"[i % 2]} for i in range(100)])
    return db.stones


@pytest.fixture
def big(db, stones):
    db.create_collection("big", viewOn="stones", pipeline=[{"$match": {"_id": {"$gte": 50}}}, {"$set": {"twice": {"$multiply": ["$_id", 2]}}}])
    return db.big


def test_a_view_is_read_like_a_collection(db, big):
    assert sorted(d["_id"] for d in big.find()) == list(range(50, 100))
    assert [d["twice"] for d in big.find({"a": 3}).sort("_id", DESCENDING).skip(1).limit(3)] == [186, 176, 166]
    assert list(big.find({"_id": 60}, {"twice": 1, "_id": 0})) == [{"twice": 120}]
    assert big.find_one({"_id": 3}) is None
    assert big.count_documents({"a": 1}) == 10
    assert big.estimated_document_count() == 50
    assert db.command("count", "big", query={"a": 1}, skip=3, limit=4)["n"] == 4
    assert db.command("count", "big", query={"a": 77})["n"] == 0
    assert big.distinct("a", {"_id": {"$gte": 98}}) == [3, 4]
    assert sorted(big.distinct("tags")) == ["t0", "t1", "t2", "x"]
    assert list(big.aggregate([{"$group": {"_id": "$a", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}])) == [
        {"_id": i, "n": 10} for i in range(5)]
    found = big.find({"$expr": {"$eq": ["$twice", "$$t"]}}, let={"t": {"$add": [100, 2]}})
    assert [d["_id"] for d in found] == [51]


def test_its_cursor_goes_on(cluster, db, big):
    assert sorted(d["_id"] for d in big.find(batch_size=7)) == list(range(50, 100))
    node = cluster.node(1)[db.name]
    reply = node.command("find", "big", batchSize=2)
    assert reply["cursor"]["ns"] == f"{db.name}.big"
    assert len(node.command("getMore", reply["cursor"]["id"], collection="big", batchSize=5)["cursor"]["nextBatch"]) == 5


def test_it_shows_what_is_in_the_collection_now(cluster, db, big, stones):
    stones.delete_many({"_id": {"$gte": 55}})
    assert big.count_documents({}) == 5
    for number in (1, 2, 3):
        assert cluster.node(number)[db.name].big.count_documents({}) == 5


def test_it_takes_no_writes(db, big):
    assert code(big.insert_one, {"_id": 1}) == VIEW
    assert code(big.update_one, {"_id": 60}, {"$set": {"a": 1}}) == VIEW
    assert code(big.update_one, {"_id": 60}, {"$set": {"a": 1}}, upsert=True) == VIEW
    assert code(big.delete_many, {}) == VIEW
    assert code(big.find_one_and_update, {"_id": 60}, {"$set": {"a": 1}}) == VIEW
    assert code(big.create_index, "a") == VIEW
    assert code(big.drop_index, "a_1") == VIEW
    assert code(lambda: list(big.list_indexes())) == VIEW
    assert code(db.command, "collStats", "big") == VIEW
    assert code(db.command, "validate", "big") == VIEW
    assert code(big.rename, "other") == VIEW
    assert code(lambda: list(db.stones.aggregate([{"$out": "big"}]))) == VIEW
    assert code(lambda: list(db.stones.aggregate([{"$merge": "big"}]))) == VIEW
    assert code(db.command, "convertToCapped", "big", size=1000) == VIEW
    assert db.stones.count_documents({}) == 100


def test_it_is_listed_as_a_view(db, big):
    (info,) = db.list_collections(filter={"name": "big"})
    assert info["type"] == "view"
    assert info["info"] == {"readOnly": True}
    assert info["options"]["viewOn"] == "stones"
    assert len(info["options"]["pipeline"]) == 2
    assert "idIndex" not in info
    assert [c["name"] for c in db.list_collections(filter={"type": "view"})] == ["big"]
    assert sorted(db.list_collection_names()) == ["big", "stones"]
    stats = db.command("dbStats")
    assert (stats["collections"], stats["views"]) == (1, 1)
    assert db.name in db.client.list_database_names()


def test_system_views_has_their_definitions(db, big):
    db.create_collection("all", viewOn="stones")
    found = list(db["system.views"].find().sort("_id", 1))
    assert found[0] == {"_id": f"{db.name}.all", "viewOn": "stones", "pipeline": []}
    assert found[1]["_id"] == f"{db.name}.big"
    assert db["system.views"].count_documents({"viewOn": "stones"}) == 2
    with pytest.raises(OperationFailure):
        db["system.views"].insert_one({"_id": "x"})


def test_views_on_views(db, big):
    db.create_collection("some", viewOn="big", pipeline=[{"$match": {"a": 2}}, {"$project": {"twice": 1}}])
    assert sorted(d["twice"] for d in db.some.find()) == [2 * i for i in range(50, 100) if i % 5 == 2]
    assert db.some.count_documents({"twice": {"$gt": 150}}) == 5
    db.big.drop()
    assert list(db.some.find()) == []
    db.create_collection("big", viewOn="stones")
    assert db.some.count_documents({}) == 20


def test_a_view_of_nothing_is_empty_until_there_is_something(db):
    db.create_collection("hopeful", viewOn="later", pipeline=[{"$match": {"a": 1}}])
    assert list(db.hopeful.find()) == []
    assert db.hopeful.count_documents({}) == 0
    db.later.insert_many([{"a": 1}, {"a": 2}])
    assert db.hopeful.count_documents({}) == 1


def test_explain_shows_the_collection_below(db, big):
    db.stones.create_index("a")
    db.create_collection("high", viewOn="stones", pipeline=[{"$match": {"_id": {"$gte": 50}}}])
    assert "a_1" in stages(db.high.find({"a": 3}).explain()["queryPlanner"])
    assert "a_1" in stages(db.command("explain", {"count": "high", "query": {"a": 3}})["queryPlanner"])
    assert code(db.command, "explain", {"delete": "high", "deletes": [{"q": {}, "limit": 0}]}) == VIEW
    plan = db.command("explain", {"aggregate": "big", "pipeline": [{"$match": {"_id": 51}}], "cursor": {}})
    assert plan["ok"] == 1


def test_views_inside_of_stages(db, big):
    db.other.insert_many([{"_id": i, "stone": i} for i in (10, 60, 70)])
    joined = list(db.other.aggregate([
        {"$lookup": {"from": "big", "localField": "stone", "foreignField": "_id", "as": "s"}}, {"$sort": {"_id": 1}}]))
    assert [[s["twice"] for s in d["s"]] for d in joined] == [[], [120], [140]]
    sub = list(db.other.aggregate([
        {"$lookup": {"from": "big", "let": {"v": "$stone"}, "as": "s",
                     "pipeline": [{"$match": {"$expr": {"$eq": ["$twice", {"$multiply": ["$$v", 2]}]}}}]}},
        {"$match": {"s": {"$ne": []}}}]))
    assert sorted(d["_id"] for d in sub) == [60, 70]
    union = list(db.other.aggregate([{"$unionWith": {"coll": "big", "pipeline": [{"$match": {"a": 0}}]}}, {"$count": "n"}]))
    assert union == [{"n": 13}]
    db.edges.insert_many([{"_id": i, "to": i + 1} for i in range(5)])
    db.create_collection("short", viewOn="edges", pipeline=[{"$match": {"_id": {"$lt": 3}}}])
    (reached,) = db.edges.aggregate([
        {"$match": {"_id": 0}},
        {"$graphLookup": {"from": "short", "startWith": "$to", "connectFromField": "to", "connectToField": "_id", "as": "r"}}])
    assert sorted(d["_id"] for d in reached["r"]) == [1, 2]


def test_a_view_may_join(db, stones):
    db.names.insert_many([{"_id": i, "name": f"n{i}"} for i in range(5)])
    db.create_collection("named", viewOn="stones", pipeline=[
        {"$lookup": {"from": "names", "localField": "a", "foreignField": "_id", "as": "n"}}, {"$unwind": "$n"}])
    assert db.named.find_one({"_id": 7})["n"]["name"] == "n2"
    assert db.named.count_documents({"n.name": "n3"}) == 20


def test_results_of_a_view_can_be_written(db, big):
    list(big.aggregate([{"$match": {"a": 0}}, {"$out": "kept"}]))
    assert db.kept.count_documents({}) == 10


def test_coll_mod_changes_a_view(cluster, db, big):
    db.command("collMod", "big", viewOn="stones", pipeline=[{"$match": {"a": 1}}])
    for number in (1, 2, 3):
        assert cluster.node(number)[db.name].big.count_documents({}) == 20
    assert code(db.command, "collMod", "big", validator={"a": 1}) == 72
    assert code(db.command, "collMod", "stones", viewOn="x", pipeline=[]) == 72
    assert code(db.command, "collMod", "nope", viewOn="x", pipeline=[]) == 26
    assert code(db.command, "collMod", "big", pipeline=[{"$out": "x"}]) == 167


def test_definitions_are_checked(db, big):
    assert code(db.create_collection, "v", viewOn="stones", pipeline=[{"$out": "x"}]) == 167
    assert code(db.create_collection, "v", viewOn="stones", pipeline=[{"$merge": "x"}]) == 167
    assert code(db.create_collection, "v", viewOn="stones", pipeline=[{"$nope": 1}]) == 40324
    assert code(db.command, "create", "v", viewOn="") == 2
    assert code(db.command, "create", "v", pipeline=[]) == 72
    assert code(db.command, "create", "v", viewOn="stones", capped=True, size=1000) == 72
    assert code(db.command, "create", "big", viewOn="stones") == 48
    assert code(db.command, "create", "stones", viewOn="big") == 48
    assert code(db.command, "create", "big") == 48
    again = db.command("listCollections", filter={"name": "big"})["cursor"]["firstBatch"][0]["options"]
    assert db.command("create", "big", **again)["ok"] == 1
    assert "v" not in db.list_collection_names()


def test_cycles_and_long_chains_are_refused(db, stones):
    db.create_collection("v1", viewOn="stones")
    for i in range(2, 21):
        db.create_collection(f"v{i}", viewOn=f"v{i - 1}")
    assert db.v20.count_documents({}) == 100
    assert code(db.command, "create", "v21", viewOn="v20") == 165
    assert code(db.command, "collMod", "v1", viewOn="v7", pipeline=[]) == 5
    assert code(db.command, "create", "self", viewOn="self") == 5
    assert code(db.command, "collMod", "v1", viewOn="stones", pipeline=[{"$unionWith": "v3"}]) == 5
    db.create_collection("v0", viewOn="stones")
    assert code(db.command, "collMod", "v1", viewOn="v0", pipeline=[]) == 165


def test_a_view_compares_strings_in_its_own_way(db, stones):
    db.create_collection("loose", viewOn="stones", collation=LOOSE)
    assert db.loose.count_documents({"w": "a"}) == 100
    assert len(db.loose.distinct("w")) == 1
    assert db.loose.count_documents({"w": "a"}, collation=LOOSE) == 100
    assert code(lambda: list(db.loose.find({"w": "a"}).collation(Collation("en", strength=3)))) == 167
    assert code(db.command, "create", "plain", viewOn="loose") == 167
    db.create_collection("caseless", collation=LOOSE)
    db.caseless.insert_many([{"w": "a"}, {"w": "A"}])
    db.create_collection("exact", viewOn="caseless")
    assert db.caseless.count_documents({"w": "a"}) == 2
    assert db.exact.count_documents({"w": "a"}) == 1


def test_options_that_only_collections_have(db, big):
    db.stones.create_index("a")
    assert code(lambda: list(big.find().min([("a", 1)]).hint("a_1"))) == 168
    assert code(lambda: list(db.command("find", "big", returnKey=True))) == 168
    assert code(lambda: list(db.command("find", "big", showRecordId=True))) == 168
    assert code(lambda: list(db.command("find", "big", tailable=True))) == 168
    assert len(list(big.find().sort("$natural", -1))) == 50
    assert code(lambda: list(big.find({}, {"tags": {"$elemMatch": {"$eq": "x"}}}))) == 31324


def test_a_name_changes_from_collection_to_view_and_back(cluster, db, stones):
    routers = [cluster.node(number)[db.name] for number in (1, 2, 3)]
    for _ in range(3):
        db.thing.insert_many([{"_id": i} for i in range(7)])
        assert [router.thing.count_documents({}) for router in routers] == [7, 7, 7]
        db.thing.drop()
        db.create_collection("thing", viewOn="stones")
        assert [router.thing.count_documents({}) for router in routers] == [100, 100, 100]
        assert [len(list(router.thing.find())) for router in routers] == [100, 100, 100]
        for router in routers:
            assert code(router.thing.insert_one, {}) == VIEW
        db.thing.drop()
    assert db.thing.count_documents({}) == 0
    assert "thing" not in db.list_collection_names()
    assert stones.count_documents({}) == 100


def test_drop_database_takes_views_along(cluster, db, big):
    db.client.drop_database(db.name)
    assert db.list_collection_names() == []
    assert list(db.big.find()) == []
