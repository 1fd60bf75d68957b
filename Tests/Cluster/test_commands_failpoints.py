"""The fail point by which applications and drivers test how they take errors."""

import time

import pytest
from pymongo.errors import AutoReconnect, OperationFailure, WriteConcernError


@pytest.fixture
def node(shared_cluster):
    """A driver on one node, whose fail point is off before and after."""
    client = shared_cluster.node(1, retryWrites=False, retryReads=False, appName="stones")
    off = {"configureFailPoint": "failCommand", "mode": "off"}
    client.admin.command(off)
    client.quarry.stones.drop()
    yield client
    client.admin.command(off)
    client.drop_database("quarry")
    client.close()


def fail(client, mode, **data):
    return client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})


def test_an_error_for_a_number_of_times(node):
    fail(node, {"times": 2}, failCommands=["find"], errorCode=11601)
    for _ in range(2):
        with pytest.raises(OperationFailure) as caught:
            node.quarry.stones.find_one()
        assert (caught.value.code, caught.value.details["codeName"]) == (11601, "Interrupted")
        assert caught.value.details["errmsg"] == "Failing command via 'failCommand' failpoint"
    assert node.quarry.stones.find_one() is None
    assert fail(node, "off")["count"] == 2


def test_always_skip_and_off(node):
    fail(node, "alwaysOn", failCommands=["count", "distinct"], errorCode=2)
    for _ in range(3):
        with pytest.raises(OperationFailure):
            node.quarry.command("count", "stones")
    assert node.quarry.stones.find_one() is None
    fail(node, {"skip": 2}, failCommands=["distinct"], errorCode=2)
    assert node.quarry.stones.distinct("a") == []
    assert node.quarry.stones.distinct("a") == []
    with pytest.raises(OperationFailure):
        node.quarry.stones.distinct("a")
    fail(node, "off")
    assert node.quarry.stones.distinct("a") == []


def test_a_failed_write_is_not_carried_out(node):
    fail(node, {"times": 1}, failCommands=["insert"], errorCode=2)
    with pytest.raises(OperationFailure):
        node.quarry.stones.insert_one({"_id": 1})
    assert node.quarry.stones.count_documents({}) == 0


def test_a_closed_connection(node):
    fail(node, {"times": 1}, failCommands=["find"], closeConnection=True)
    with pytest.raises(AutoReconnect):
        node.quarry.stones.find_one()
    assert node.quarry.stones.find_one() is None


def test_a_blocked_command_takes_its_time_and_is_carried_out(node):
    fail(node, {"times": 1}, failCommands=["insert"], blockConnection=True, blockTimeMS=300)
    begin = time.monotonic()
    node.quarry.stones.insert_one({"_id": 1})
    assert 0.29 < time.monotonic() - begin < 3
    assert node.quarry.stones.count_documents({}) == 1


def test_only_the_application_of_that_name(node, shared_cluster):
    fail(node, "alwaysOn", failCommands=["find"], errorCode=2, appName="stones")
    with pytest.raises(OperationFailure):
        node.quarry.stones.find_one()
    other = shared_cluster.node(1, appName="other")
    assert other.quarry.stones.find_one() is None


def test_a_write_concern_error_comes_with_a_write_that_was_done(node):
    fail(node, {"times": 1}, failCommands=["insert"], writeConcernError={"code": 64, "errmsg": "too slow"})
    with pytest.raises(WriteConcernError) as caught:
        node.quarry.stones.insert_one({"_id": 1})
    assert caught.value.code == 64
    assert node.quarry.stones.count_documents({}) == 1


def test_labels_for_writes_that_a_driver_may_repeat(node):
    def labels(code, numbered=True, **data):
        fail(node, {"times": 1}, failCommands=["insert"], errorCode=code, **data)
        command = {"insert": "stones", "documents": [{}]}
        with node.start_session() as session:
            if numbered:
                command["txnNumber"] = 1
            with pytest.raises((OperationFailure, AutoReconnect)) as caught:
                node.quarry.command(command, session=session)
        return caught.value.details.get("errorLabels")

    assert labels(91) == ["RetryableWriteError"]
    assert labels(10107) == ["RetryableWriteError"]
    assert labels(11600) == ["RetryableWriteError"]
    assert labels(91, numbered=False) is None
    assert labels(2) is None
    assert labels(2, errorLabels=["Mine"]) == ["Mine"]
    assert labels(91, errorLabels=[]) is None


def test_a_driver_repeats_a_write_that_failed_once(shared_cluster, node):
    client = shared_cluster.node(1, retryWrites=True)
    fail(node, {"times": 1}, failCommands=["insert", "update"], errorCode=91)
    client.quarry.stones.insert_one({"_id": 1, "n": 0})
    fail(node, {"times": 1}, failCommands=["update"], closeConnection=True)
    assert client.quarry.stones.update_one({"_id": 1}, {"$inc": {"n": 1}}).modified_count == 1
    assert client.quarry.stones.find_one({"_id": 1})["n"] == 1


@pytest.mark.parametrize(
    "command, code",
    [
        ({"configureFailPoint": "noSuchPoint", "mode": "off"}, 236),
        ({"configureFailPoint": "failCommand"}, 2), ({"configureFailPoint": "failCommand", "mode": "sometimes"}, 2),
        ({"configureFailPoint": "failCommand", "mode": {"times": -1}}, 2),
        ({"configureFailPoint": "failCommand", "mode": {"times": "x"}}, 14),
        ({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {"failCommands": "find"}}, 14),
        ({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {"blockConnection": True}}, 72),
        ({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {"errorCoed": 1}}, 2),
    ])
def test_fail_points_that_mean_nothing_are_refused(node, command, code):
    with pytest.raises(OperationFailure) as caught:
        node.admin.command(command)
    assert caught.value.code == code


def test_it_belongs_to_admin(node):
    with pytest.raises(OperationFailure) as caught:
        node.quarry.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert caught.value.code == 13
