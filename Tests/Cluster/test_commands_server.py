"""What shells, monitors and drivers ask about a node and about the cluster."""

import time

import pytest
from bson import Int64
from pymongo.errors import OperationFailure


def code(call):
    with pytest.raises(OperationFailure) as caught:
        call()
    return caught.value.code


@pytest.fixture
def node(shared_cluster):
    return shared_cluster.node(1)


def test_versions_agree(node):
    build = node.admin.command("buildInfo")
    assert build["version"] == "8.0.0"
    assert build["versionArray"] == [8, 0, 0, 0]
    assert node.admin.command("hello")["maxWireVersion"] == 25
    assert node.admin.command("getParameter", 1, featureCompatibilityVersion=1)["featureCompatibilityVersion"] == {"version": "8.0"}


def test_parameters_are_read_one_by_one_and_all_together(node):
    one = node.admin.command({"getParameter": 1, "cursorTimeoutMillis": 1})
    assert one == {"cursorTimeoutMillis": 600000, "ok": 1.0}
    everything = node.admin.command({"getParameter": "*"})
    assert {"cursorTimeoutMillis", "enableTestCommands", "logLevel", "ttlMonitorSleepSecs"} <= set(everything)
    assert everything["enableTestCommands"] is True
    details = node.admin.command({"getParameter": {"showDetails": True, "allParameters": True}})
    assert details["cursorTimeoutMillis"] == {"value": 600000, "settableAtRuntime": True, "settableAtStartup": True}
    assert details["enableTestCommands"]["settableAtRuntime"] is False
    assert code(lambda: node.admin.command({"getParameter": 1, "noSuchThing": 1})) == 72
    assert code(lambda: node.admin.command({"getParameter": {"showDetails": "x"}})) == 14
    assert code(lambda: node.test.command({"getParameter": "*"})) == 13


def test_a_parameter_is_changed_while_the_node_runs(node, db):
    assert node.admin.command({"setParameter": 1, "logLevel": 1}) == {"was": 0, "ok": 1.0}
    assert node.admin.command({"getParameter": 1, "logLevel": 1})["logLevel"] == 1
    node.admin.command({"setParameter": 1, "logLevel": 0})

    db.c.insert_many([{"_id": i} for i in range(500)])
    collection = node[db.name].c
    assert node.admin.command({"setParameter": 1, "cursorTimeoutMillis": 300})["was"] == 600000
    try:
        cursor = collection.find(batch_size=2)
        next(cursor)
        time.sleep(2.5)
        assert code(lambda: list(cursor)) == 43
    finally:
        node.admin.command({"setParameter": 1, "cursorTimeoutMillis": 600000})


@pytest.mark.parametrize("name, pipeline", [
    ("internalQueryMaxBlockingSortMemoryUsageBytes", [{"$sort": {"k": 1}}, {"$project": {"k": 1}}]),
    ("internalDocumentSourceGroupMaxMemoryBytes", [{"$group": {"_id": "$pad"}}, {"$count": "n"}]),
])
def test_the_memory_of_a_stage_is_changed_while_the_node_runs(shared_cluster, node, db, name, pipeline):
    # Some megabytes in each group.
    db.c.insert_many([{"_id": i, "k": -i, "pad": f"{i}" + "x" * 100_000} for i in range(240)])
    collection = node[db.name].c
    members = [shared_cluster.node(number) for number in range(1, shared_cluster.size + 1)]
    expected = list(collection.aggregate(pipeline, allowDiskUse=False))
    assert node.admin.command({"getParameter": 1, name: 1})[name] == 100 << 20
    # What one node is told counts for what runs there: the groups that it leads, and the merging of what its clients ask.
    for member in members:
        assert member.admin.command({"setParameter": 1, name: 1 << 20}) == {"was": 100 << 20, "ok": 1.0}
    try:
        assert code(lambda: list(collection.aggregate(pipeline, allowDiskUse=False))) == 292
        assert list(collection.aggregate(pipeline)) == expected
        for wrong in (0, 1000, -1, "x"):
            assert code(lambda: node.admin.command({"setParameter": 1, name: wrong})) == 2
    finally:
        for member in members:
            member.admin.command({"setParameter": 1, name: 100 << 20})


def test_parameters_that_cannot_be_changed(node):
    assert code(lambda: node.admin.command({"setParameter": 1, "noSuchThing": 1})) == 72
    assert code(lambda: node.admin.command({"setParameter": 1})) == 72
    assert code(lambda: node.admin.command({"setParameter": 1, "enableTestCommands": False})) == 20
    assert code(lambda: node.admin.command({"setParameter": 1, "logLevel": 9})) == 2
    assert code(lambda: node.admin.command({"setParameter": 1, "logLevel": "x"})) == 2


def test_what_shells_ask_when_they_connect(node):
    assert node.admin.command("usersInfo", 1) == {"users": [], "ok": 1.0}
    assert code(lambda: node.admin.command("usersInfo", {"name": "x"})) == 2
    assert node.admin.command("connectionStatus", showPrivileges=True)["authInfo"] == {
        "authenticatedUsers": [], "authenticatedUserRoles": [], "authenticatedUserPrivileges": []}
    assert node.admin.command("whatsmyuri")["you"].startswith("127.0.0.1:")
    assert node.admin.command("hostInfo")["system"]["numCores"] > 0
    options = node.admin.command("getCmdLineOpts")
    assert options["argv"][1] == "serve"
    assert options["parsed"]["net"]["port"] == node.address[1]
    assert node.admin.command("logRotate")["ok"] == 1
    assert {"find", "profile", "configureFailPoint", "usersInfo"} <= set(node.admin.command("listCommands")["commands"])


def test_the_log_is_read_over_the_wire(node):
    assert node.admin.command("getLog", "*")["names"] == ["global", "startupWarnings"]
    log = node.admin.command("getLog", "global")
    assert log["totalLinesWritten"] >= len(log["log"]) > 0
    assert any("node is up" in line for line in log["log"])
    assert node.admin.command("getLog", "startupWarnings")["log"] == []
    assert code(lambda: node.admin.command("getLog", "other")) == 96


def test_the_catalog_is_read_as_mongodb_shows_it(node, db):
    db.spread.insert_one({})
    db.command("create", "single", placement="single")
    config = node.config
    shards = list(config.shards.find().sort("_id"))
    assert [shard["_id"] for shard in shards] == [f"g{i}" for i in range(1, 7)]
    assert all(shard["host"].count(":") == 3 and shard["state"] == 1 for shard in shards)
    assert config.shards.count_documents({}) == 6
    names = {f"{db.name}.spread", f"{db.name}.single"}
    assert {c["_id"] for c in config.collections.find({"_id": {"$regex": f"^{db.name}\\."}})} == names
    found = config.collections.find_one({"_id": f"{db.name}.single"})
    assert found["unsplittable"] is True
    assert found["uuid"] == next(c["info"]["uuid"] for c in db.list_collections() if c["name"] == "single")
    (database,) = config.databases.find({"_id": db.name})
    assert database["primary"] in {shard["_id"] for shard in shards}
    counted = list(config.collections.aggregate([{"$match": {"_id": {"$in": list(names)}}}, {"$count": "n"}]))
    assert counted == [{"n": 2}]
    assert code(lambda: config.shards.insert_one({})) == 13


def test_index_stats_count_how_often_an_index_was_used(db):
    db.c.insert_many([{"_id": i, "n": i} for i in range(50)])
    db.c.create_index("n")

    def uses(name):
        found = [d for d in db.c.aggregate([{"$indexStats": {}}]) if d["name"] == name]
        assert found
        for document in found:
            assert set(document) == {"name", "key", "host", "accesses", "shard", "spec"}
            assert document["spec"]["name"] == name
            assert document["accesses"]["since"].year >= 2024
        return sum(d["accesses"]["ops"] for d in found), len(found)

    used, groups = uses("n_1")
    assert (used, groups) == (0, 6)
    for _ in range(3):
        assert db.c.find_one({"n": 7})["_id"] == 7
    assert uses("n_1")[0] == 3 * groups
    before = uses("_id_")[0]
    db.c.find_one({"_id": 7})
    assert uses("_id_")[0] == before + 1
    assert list(db.c.aggregate([{"$indexStats": {}}, {"$match": {"name": "n_1"}}, {"$group": {"_id": "$key", "ops": {"$sum": "$accesses.ops"}}}])) == [
        {"_id": {"n": 1}, "ops": 3 * groups}]
    assert list(db.nothing.aggregate([{"$indexStats": {}}])) == []


def test_current_operations_as_a_stage(node):
    found = list(node.admin.aggregate([{"$currentOp": {}}, {"$match": {"command.aggregate": 1}}]))
    assert len(found) == 1
    operation = found[0]
    assert operation["active"] is True
    assert {"opid", "ns", "op", "command", "client", "connectionId", "secs_running", "microsecs_running", "type", "host", "desc"} <= set(operation)
    everything = list(node.admin.aggregate([{"$currentOp": {"idleConnections": True, "allUsers": True}}]))
    assert len(everything) > len(found)
    only = node.admin.command({"currentOp": 1, "command.currentOp": 1})["inprog"]
    assert len(only) == 1
    assert node.admin.command({"currentOp": 1, "op": "insert"})["inprog"] == []


def test_sessions_as_a_stage(node):
    with node.start_session() as session:
        node.test.command("ping", session=session)
        mine = session.session_id["id"]
        found = [s for s in node.admin.aggregate([{"$listLocalSessions": {}}]) if s["_id"]["id"] == mine]
        assert len(found) == 1
        assert len(found[0]["_id"]["uid"]) == 32
        assert found[0]["lastUse"].year >= 2024
        listed = node.config.system.sessions.aggregate([{"$listSessions": {}}, {"$match": {"_id.id": mine}}])
        assert len(list(listed)) == 1


@pytest.mark.parametrize(
    "database, target, stage, expected",
    [
        ("admin", "c", {"$currentOp": {}}, 73), ("test", 1, {"$currentOp": {}}, 73), ("admin", 1, {"$currentOp": {"foo": True}}, 9),
        ("admin", 1, {"$currentOp": {"allUsers": 1}}, 9), ("admin", 1, {"$currentOp": 1}, 9),
        ("test", 1, {"$indexStats": {}}, 73), ("test", "c", {"$indexStats": {"a": 1}}, 28803),
        ("test", "c", {"$listLocalSessions": {}}, 73), ("test", "c", {"$listSessions": {}}, 73),
        ("admin", 1, {"$listLocalSessions": {"foo": 1}}, 40415),
    ])
def test_stages_in_the_wrong_place_or_shape(node, database, target, stage, expected):
    assert code(lambda: node[database].command({"aggregate": target, "pipeline": [stage], "cursor": {}})) == expected


def test_these_stages_come_first(node):
    for stage in ({"$indexStats": {}}, {"$currentOp": {}}):
        assert code(lambda: node.test.command({"aggregate": "c", "pipeline": [{"$match": {}}, stage], "cursor": {}})) == 40602
