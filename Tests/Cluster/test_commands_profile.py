"""What a node writes down of operations: `profile`, `system.profile`, the log of slow operations, `top`."""

import time

import pytest
from pymongo.errors import OperationFailure


@pytest.fixture
def node(shared_cluster):
    client = shared_cluster.node(1, appName="profiled")
    yield client
    for name in ["profiled", "other"]:
        client[name].command({"profile": 0, "slowms": 100, "sampleRate": 1.0, "filter": "unset"})
        client[name].system.profile.drop()
        client.drop_database(name)


def entries(database, **filter):
    return list(database.system.profile.find(filter))


def test_level_2_writes_everything_down(node):
    db = node.profiled
    assert db.command("profile", 2)["was"] == 0
    db.stones.insert_many([{"_id": i, "n": i % 5} for i in range(10)])
    list(db.stones.find({"n": 3}, comment="looking"))
    db.stones.update_one({"_id": 1}, {"$set": {"n": 9}})
    db.stones.delete_one({"_id": 2})
    list(db.stones.aggregate([{"$match": {"n": 9}}]))
    assert db.command("profile", -1)["was"] == 2
    db.command("profile", 0)

    (insert,) = entries(db, op="insert")
    assert (insert["ns"], insert["ninserted"]) == ("profiled.stones", 10)
    (find,) = [e for e in entries(db, op="query") if e["ns"] == "profiled.stones"]
    assert find["command"]["find"] == "stones"
    assert find["command"]["filter"] == {"n": 3}
    assert find["command"]["comment"] == "looking"
    assert (find["nreturned"], find["planSummary"], find["appName"]) == (2, "COLLSCAN", "profiled")
    assert {"ts", "millis", "client", "responseLength", "protocol", "allUsers", "user"} <= set(find)
    (update,) = entries(db, op="update")
    assert (update["nMatched"], update["nModified"], update["planSummary"]) == (1, 1, "IDHACK")
    assert update["command"]["q"] == {"_id": 1}
    (delete,) = entries(db, op="remove")
    assert delete["ndeleted"] == 1
    (aggregate,) = [e for e in entries(db, op="command") if "aggregate" in e["command"]]
    assert aggregate["command"]["pipeline"] == [{"$match": {"n": 9}}]


def test_a_plan_summary_names_the_index(node):
    db = node.profiled
    db.stones.insert_many([{"n": i} for i in range(10)])
    db.stones.create_index([("n", 1), ("m", -1)])
    db.command("profile", 2)
    list(db.stones.find({"n": 3}))
    db.command("profile", 0)
    (find,) = [e for e in entries(db, op="query") if e["ns"] == "profiled.stones"]
    assert find["planSummary"] == "IXSCAN { n: 1, m: -1 }"


def test_level_1_writes_down_what_is_slow(node):
    db = node.profiled
    db.stones.insert_one({"_id": 1})
    was = db.command({"profile": 1, "slowms": 150})
    assert (was["slowms"], was["sampleRate"]) == (100, 1.0)
    db.stones.find_one({"_id": 1})
    node.admin.command(
        {"configureFailPoint": "failCommand", "mode": "off"})
    assert entries(db, op="query") == []
    db.command({"profile": 1, "slowms": 0})
    db.stones.find_one({"_id": 1})
    db.command({"profile": 0, "slowms": 100})
    assert any(e["command"].get("find") == "stones" for e in entries(db, op="query"))


def test_a_filter_decides_instead(node):
    db = node.profiled
    db.command({"profile": 1, "filter": {"op": "query", "nreturned": {"$gte": 2}}})
    db.stones.insert_many([{"_id": i} for i in range(3)])
    db.stones.find_one({"_id": 1})
    list(db.stones.find())
    was = db.command({"profile": 0, "filter": "unset"})
    assert was["filter"] == {"op": "query", "nreturned": {"$gte": 2}}
    assert [e["nreturned"] for e in entries(db)] == [3]


def test_a_database_is_profiled_by_itself(node):
    node.profiled.command("profile", 2)
    node.other.stones.insert_one({})
    node.profiled.stones.insert_one({})
    assert entries(node.other) == []
    assert len(entries(node.profiled, op="insert")) == 1


def test_queries_can_be_counted_as_mongoengine_counts_them(node):
    """The steps of its query_counter."""
    db = node.profiled
    before = db.command({"profile": 0})["was"]
    db.system.profile.drop()
    db.command({"profile": 2})
    ignored = {"ns": {"$ne": "profiled.system.indexes"}, "op": {"$ne": "killcursors"}, "command.killCursors": {"$exists": False}}
    assert db.system.profile.count_documents(ignored) == 0
    db.stones.find_one()
    db.stones.insert_one({"_id": 1})
    # The count itself was one.
    assert db.system.profile.count_documents(ignored) == 3
    db.command({"profile": before})


def test_a_profile_is_read_like_a_collection(node):
    db = node.profiled
    db.command("profile", 2)
    for i in range(30):
        db.stones.insert_one({"_id": i})
    db.command("profile", 0)
    assert db.system.profile.count_documents({"op": "insert"}) == 30
    assert len(list(db.system.profile.find({"op": "insert"}, {"ns": 1}, batch_size=7))) == 30
    newest = list(db.system.profile.find({"op": "insert"}).sort("ts", -1).skip(1).limit(3))
    assert len(newest) == 3
    assert newest[0]["ts"] >= newest[2]["ts"]
    assert set(db.system.profile.distinct("op")) == {"insert"}
    assert list(db.system.profile.aggregate([{"$group": {"_id": "$op", "n": {"$sum": 1}}}])) == [{"_id": "insert", "n": 30}]


def test_a_profile_cannot_be_written_or_dropped_while_it_grows(node):
    db = node.profiled
    db.command("profile", 2)
    with pytest.raises(OperationFailure) as caught:
        db.system.profile.insert_one({})
    assert caught.value.code == 73
    with pytest.raises(OperationFailure) as caught:
        db.command("drop", "system.profile")
    assert caught.value.code == 20
    db.command("profile", 0)
    db.system.profile.drop()
    assert entries(db) == []


def test_a_profile_is_bounded(node):
    db = node.profiled
    db.command("profile", 2)
    for i in range(120):
        db.stones.find_one({"padding": "x" * 20_000, "i": i})
    db.command("profile", 0)
    kept = entries(db, op="query")
    assert 20 < len(kept) < 60
    assert kept[-1]["command"]["filter"]["i"] == 119


def test_failed_operations_say_why(node):
    db = node.profiled
    db.command("profile", 2)
    with pytest.raises(OperationFailure):
        db.stones.find_one({"$nonsense": 1})
    db.command("profile", 0)
    (find,) = entries(db, op="query")
    assert (find["ok"], find["errName"], find["errCode"]) == (0, "BadValue", 2)


def test_slow_operations_are_in_the_log(node):
    db = node.profiled
    db.command({"profile": 0, "slowms": 0})
    db.stones.find_one({"needle": 12345})
    db.command({"profile": 0, "slowms": 100})
    log = node.admin.command("getLog", "global")["log"]
    assert any("slow operation" in line and "12345" in line and "COLLSCAN" in line or "EOF" in line for line in log)


@pytest.mark.parametrize("command", [{"profile": 3}, {"profile": 1, "sampleRate": 2}, {"profile": 1, "slowms": "x"}, {"profile": 1, "filter": 5}])
def test_levels_that_mean_nothing_are_refused(node, command):
    with pytest.raises(OperationFailure) as caught:
        node.profiled.command(command)
    assert caught.value.code in (2, 14)


def test_top_counts_uses(node):
    node.profiled.stones.insert_one({})
    node.profiled.stones.find_one()
    before = node.admin.command("top")["totals"]["profiled.stones"]
    for _ in range(5):
        node.profiled.stones.find_one()
    after = node.admin.command("top")["totals"]["profiled.stones"]
    assert after["queries"]["count"] - before["queries"]["count"] == 5
    assert after["insert"] == before["insert"]
    assert after["total"]["time"] > before["total"]["time"]
