"""Hostile queries end in an answer or an error in time, stall nobody else, and take no more memory than they may."""

import json
import os
import pathlib
import struct
import subprocess
import sys
import time

import bson
import pytest
from bson import Regex
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, WriteError, BulkWriteError

from conftest import Cluster

# What another client may wait at most for a read or a write of one document, in milliseconds; a machine that is busy with
# other things may set more.
STALL_MS = int(os.environ.get("CAIRN_STALL_MS", "1500"))
# How far over its time limit a command may be answered, in seconds.
OVERTIME = float(os.environ.get("CAIRN_OVERTIME", "2.0"))
# What the process of a node may grow by, over all that this file does to it.
GROWTH_BYTES_MAX = 1600 << 20

EXCEEDED_MEMORY = 146
NO_DISK_USE = 292
MAX_TIME_EXPIRED = 50
EXCEEDED_TIME = 262
TOO_LARGE = 10334
MATCH_LIMIT = 51156
IN_TIME = {MAX_TIME_EXPIRED, EXCEEDED_TIME}
BOUNDED = IN_TIME | {EXCEEDED_MEMORY, NO_DISK_USE, TOO_LARGE, MATCH_LIMIT, 17419, 4568, 40099, 4031700, 5897900}

# A client in a process of its own, so that this one's work does not count: it reads and writes single documents all the
# time and says, when asked, how long the slowest took.
BYSTANDER = """
import json, sys, threading, time
from pymongo import MongoClient
client = MongoClient(sys.argv[1], serverSelectionTimeoutMS=20000)
documents = client["bystander"]["d"]
documents.insert_many([{"_id": i, "n": 0} for i in range(64)])
slowest = [0.0, ""]
lock = threading.Lock()
def work(first):
    i = first
    while True:
        for name, act in (
            ("read", lambda: documents.find_one({"_id": i % 64})),
            ("write", lambda: documents.update_one({"_id": i % 64}, {"$inc": {"n": 1}})),
        ):
            began = time.monotonic()
            try:
                act()
                what = name
            except Exception as error:
                what = name + ": " + str(error)[:200]
            took = (time.monotonic() - began) * 1000
            with lock:
                if took > slowest[0]: slowest[:] = [took, what]
        i += 2
        time.sleep(0.002)
for first in (0, 1): threading.Thread(target=work, args=(first,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    with lock:
        print(json.dumps(slowest), flush=True)
        slowest[:] = [0.0, ""]
"""


class Bystander:
    def __init__(self, uri):
        self.process = subprocess.Popen(
            [sys.executable, "-c", BYSTANDER, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def slowest(self):
        """The slowest operation since the last call."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def memory_of_nodes(cluster):
    """Peak resident bytes of each node's process."""
    peaks = []
    for number in range(1, cluster.size + 1):
        pid = pathlib.Path(cluster.directory, f"node-{number}", "pid").read_text().strip()
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]) * 1024)
    assert len(peaks) == cluster.size, "a node is not running"
    return peaks


@pytest.fixture(scope="module")
def hostile():
    cluster = Cluster()
    bystander = None
    try:
        cluster.up()
        cluster.wait_for_leaders()
        bystander = Bystander(cluster.uri)
        db = cluster.client()["hostile"]
        db.create_collection("c")
        db.c.insert_many(
            [
                {"_id": i, "s": "a" * 2000 + "b", "n": list(range(100)), "x": i, "next": [(i * 7 + j) % 600 for j in range(8)]}
                for i in range(600)
            ])
        db.create_collection("one")
        db.one.insert_one({"_id": 1, "s": "a" * 3000 + "b", "long": "a" * (1 << 20), "n": list(range(1000))})
        cluster.bystander = bystander
        cluster.memory_before = memory_of_nodes(cluster)
        yield cluster
    finally:
        if bystander:
            bystander.stop()
        cluster.remove()


@pytest.fixture
def db(hostile):
    database = hostile.client(retryReads=False, retryWrites=False)["hostile"]
    hostile.bystander.slowest()
    yield database
    took, what = hostile.bystander.slowest()
    assert ":" not in what, f"another client met an error: {what}"
    assert took < STALL_MS, f"a {what} of another client took {took:.0f} ms"


def run(db, command, codes, seconds=1.5, may_succeed=False):
    """Runs a command that has to end within its time, with one of the codes."""
    began = time.monotonic()
    limited = dict(command)
    if seconds:
        limited["maxTimeMS"] = int(seconds * 1000)
    code = None
    try:
        reply = db.command(limited)
        if reply.get("writeErrors"):
            code = reply["writeErrors"][0]["code"]
    except OperationFailure as failure:
        code = failure.code
    took = time.monotonic() - began
    assert took < (seconds or 15) + OVERTIME, f"answered after {took:.1f} s, with {code}"
    if code is None:
        assert may_succeed, "the command succeeded"
    elif codes is not None:
        assert code in codes, f"code {code}"
    return code


def aggregate(pipeline, on="c", **options):
    return {"aggregate": on, "pipeline": pipeline, "cursor": {}, **options}


def find(filter, on="c", **options):
    return {"find": on, "filter": filter, **options}


# Nesting


def nested(name, depth, leaf, in_array):
    """{name: [{name: [… leaf]}]} or {name: {name: … leaf}}, made without recursion, as raw BSON."""
    document = bson.encode(leaf)
    key = name.encode() + b"\0"
    for _ in range(depth):
        if in_array:
            array = b"\x030\0" + document
            document = b"\x04" + key + struct.pack("<i", len(array) + 5) + array + b"\0"
        else:
            document = b"\x03" + key + document
        document = struct.pack("<i", len(document) + 5) + document + b"\0"
    return RawBSONDocument(document)


NESTED = {
    "and": lambda d: find(nested("$and", d, {"x": 1}, True)),
    "or": lambda d: find(nested("$or", d, {"x": 1}, True)),
    "nor": lambda d: find(nested("$nor", d, {"x": 1}, True)),
    "elemMatch": lambda d: find({"n": nested("$elemMatch", d, {"x": 1}, False)}),
    "not": lambda d: find({"n": nested("$not", d, {"$gt": 1}, False)}),
    "value": lambda d: find({"n": nested("a", d, {"x": 1}, False)}),
    "expression": lambda d: find({"$expr": nested("$not", d, {"$not": ["$x"]}, True)}),
    "projection": lambda d: find({}, projection={"a": nested("$abs", d, {"$abs": "$x"}, False)}),
    "projection of fields": lambda d: find({}, projection=nested("a", d, {"a": 1}, False)),
    "schema": lambda d: find({"$jsonSchema": nested("not", d, {"bsonType": "int"}, False)}),
    "schema of all": lambda d: find({"$jsonSchema": nested("allOf", d, {"bsonType": "int"}, True)}),
    "sort": lambda d: find({}, sort={"x": nested("a", d, {"x": 1}, False)}),
    "facet": lambda d: aggregate([nested("$facet", d, {"$count": "n"}, True)]),
    "union": lambda d: aggregate([{"$unionWith": {"coll": "c", "pipeline": [nested("$match", d, {"x": 1}, False)]}}]),
    "set": lambda d: aggregate([{"$set": {"a": nested("$cond", d, {"if": 1, "then": 2, "else": 3}, False)}}]),
    "update": lambda d: {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"v": nested("a", d, {"x": 1}, False)}}}]},
    "update pipeline": lambda d: {"update": "c", "updates": [{"q": {"_id": 1}, "u": [{"$set": {"v": nested("$abs", d, {"$abs": "$x"}, False)}}]}]},
    "array filter": lambda d: {"update": "c", "updates": [
        {"q": {"_id": 1}, "u": {"$set": {"n.$[i]": 1}}, "arrayFilters": [nested("$and", d, {"i": 1}, True)]}]},
    "insert": lambda d: {"insert": "deep", "documents": [nested("a", d, {"x": 1}, False)]},
    "let": lambda d: find({}, let={"v": nested("$abs", d, {"$abs": 1}, False)}),
}


@pytest.mark.parametrize("depth", [180, 10_000])
@pytest.mark.parametrize("kind", NESTED)
def test_nesting_is_refused(db, kind, depth):
    may = depth == 180 and kind in ("value", "insert", "update")
    run(db, NESTED[kind](depth), None, may_succeed=may)


def test_a_regex_nested_deep_and_a_wide_filter(db):
    run(db, find({"s": {"$regex": "(" * 5000 + "a" + ")" * 5000}}), None)
    run(db, find({"$or": [{"x": i} for i in range(100_000)]}), IN_TIME | {2}, may_succeed=True)
    run(db, find({"$or": [{"s": Regex(f"^{i}(a+)+$")} for i in range(3_000)]}), BOUNDED, may_succeed=True)


# Regular expressions

EVIL = "(a+)+$"


def test_a_regex_that_backtracks_for_ever(db):
    for command in (
        find({"s": {"$regex": EVIL}}),
        {"count": "c", "query": {"s": {"$regex": EVIL}}},
        {"distinct": "c", "key": "x", "query": {"s": {"$regex": EVIL}}},
        aggregate([{"$match": {"s": {"$regex": EVIL}}}]),
        aggregate([{"$match": {"$expr": {"$regexMatch": {"input": "$s", "regex": EVIL}}}}]),
        {"delete": "c", "deletes": [{"q": {"s": {"$regex": EVIL}}, "limit": 0}]},
        {"update": "c", "updates": [{"q": {"s": {"$regex": EVIL}}, "u": {"$set": {"y": 1}}, "multi": True}]},
        {"findAndModify": "c", "query": {"s": {"$regex": EVIL}}, "update": {"$set": {"y": 1}}},
    ):
        run(db, command, BOUNDED)


def test_a_regex_that_stays_just_below_its_limit_in_every_document(db):
    # About a hundred milliseconds each, if it were let.
    almost = "(a|a)*c|" * 3 + "^a{900}(a*)*c"
    for command in (
        find({"s": {"$regex": "^(?:a{1,60}){1,3}c"}}),
        find({"s": {"$regex": almost}}),
        {"update": "c", "updates": [{"q": {"s": {"$regex": "^(?:a{1,60}){1,3}c"}}, "u": {"$set": {"y": 1}}, "multi": True}]},
    ):
        run(db, command, BOUNDED, may_succeed=True)


def test_searching_long_text_for_long_text(db):
    part = "a" * 15_000 + "b"
    for expression in (
        {"$indexOfBytes": ["$long", part]}, {"$indexOfCP": ["$long", part]}, {"$split": ["$long", part]},
        {"$replaceAll": {"input": "$long", "find": part, "replacement": "x"}},
        {"$regexMatch": {"input": "$long", "regex": part}},
    ):
        run(db, aggregate([{"$project": {"v": {"$type": expression}}}], on="one"), BOUNDED, may_succeed=True)
    run(db, find({"long": {"$regex": part}}, on="one"), BOUNDED, may_succeed=True)


# Expressions that run for long, or make much

MANY = {"$range": [0, 3_000_000]}


def loop(depth, body, source=MANY):
    for _ in range(depth):
        body = {"$sum": {"$map": {"input": source, "in": body}}}
    return body


EXPRESSIONS = {
    "nested loops": loop(3, {"$add": ["$x", 1]}),
    "nested loops without a document": loop(3, {"$add": ["$$this", 1]}),
    "text that grows": {"$reduce": {"input": MANY, "initialValue": "", "in": {"$concat": ["$$value", "0123456789"]}}},
    "an array that grows": {"$reduce": {"input": MANY, "initialValue": [], "in": {"$concatArrays": ["$$value", ["$$this"]]}}},
    "a document that grows": {"$reduce": {
        "input": MANY, "initialValue": {}, "in": {"$setField": {"field": "a", "input": {}, "value": "$$value"}}}},
    "doubling": {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": "xxxxxxxx", "in": {"$concat": ["$$value", "$$value"]}}},
    "doubling arrays": {"$reduce": {
        "input": {"$range": [0, 60]}, "initialValue": [1, "$x"], "in": {"$concatArrays": ["$$value", "$$value"]}}},
    "many ranges": {"$concatArrays": [MANY] * 500},
    "many different ranges": {"$size": {"$setUnion": [{"$range": [i, 3_000_000 + i]} for i in range(300)]}},
    "an array of ranges": [{"$range": [i, 3_000_000 + i]} for i in range(300)],
    "an object of ranges": {f"f{i}": {"$range": [i, 3_000_000 + i]} for i in range(300)},
    "zip": {"$zip": {"inputs": [{"$range": [i, 3_000_000 + i]} for i in range(300)]}},
    "filter": {"$filter": {"input": MANY, "cond": {"$gt": [loop(1, "$$this"), 0]}}},
    "sort": {"$sortArray": {"input": {"$map": {"input": MANY, "in": {"a": "$$this", "b": "$s"}}}, "sortBy": {"a": -1}}},
    "let": {"$let": {"vars": {f"v{i}": {"$range": [i, 3_000_000 + i]} for i in range(300)}, "in": {"$size": "$$v0"}}},
    "substrings": {"$map": {"input": MANY, "in": "$long"}},
    "merged objects": {"$reduce": {"input": MANY, "initialValue": {}, "in": {"$mergeObjects": [
        "$$value", {"$arrayToObject": [[{"k": {"$toString": "$$this"}, "v": 1}]]}]}}},
    "search in each": {"$map": {"input": {"$range": [0, 100_000]}, "in": {"$in": ["$$this", {"$range": [-200_000, -1]}]}}},
}


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_an_expression_that_runs_for_long(db, kind):
    expression = EXPRESSIONS[kind]
    run(db, aggregate([{"$project": {"v": expression}}], on="one"), BOUNDED | {15})
    run(db, find({"$expr": {"$eq": [1, expression]}}, on="one"), BOUNDED | {15})
    run(db, find({}, on="one", projection={"v": expression}), BOUNDED | {15})


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_an_expression_that_runs_for_long_in_a_write(db, kind):
    expression = EXPRESSIONS[kind]
    run(db, {"update": "one", "updates": [{"q": {"_id": 1}, "u": [{"$set": {"v": expression}}]}]}, BOUNDED | {15})
    run(db, {"update": "one", "updates": [{"q": {"$expr": {"$eq": [1, expression]}}, "u": {"$set": {"v": 1}}}]}, BOUNDED | {15})
    run(db, {"findAndModify": "one", "query": {"_id": 1}, "update": [{"$set": {"v": expression}}]}, BOUNDED | {15})


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_an_expression_that_runs_for_long_where_groups_meet(db, kind):
    expression = EXPRESSIONS[kind]
    merged = [{"$group": {"_id": None, "x": {"$sum": "$x"}}}, {"$project": {"v": expression}}]
    run(db, aggregate(merged), BOUNDED | {15}, may_succeed=kind == "substrings")
    run(db, aggregate([{"$documents": [{"x": 1}]}, {"$project": {"v": expression}}], on=1), BOUNDED | {15}, may_succeed=kind == "substrings")


def test_a_let_that_runs_for_long(db):
    slow = EXPRESSIONS["nested loops without a document"]
    run(db, aggregate([{"$match": {"$expr": {"$eq": ["$$v", 1]}}}], let={"v": slow}), BOUNDED)


# Stages


STAGES = {
    "unwinding": [{"$unwind": "$n"}, {"$set": {"m": {"$range": [0, 1000]}}}, {"$unwind": "$m"}, {"$set": {"k": {"$range": [0, 1000]}}},
                  {"$unwind": "$k"}, {"$group": {"_id": None, "n": {"$sum": 1}}}],
    "unwinding where groups meet": [{"$sort": {"x": 1}}, {"$limit": 500}, {"$unwind": "$n"}, {"$set": {"m": {"$range": [0, 1000]}}},
                                    {"$unwind": "$m"}, {"$set": {"k": {"$range": [0, 1000]}}}, {"$unwind": "$k"}, {"$count": "n"}],
    "pushing": [{"$unwind": "$n"}, {"$set": {"p": {"$concat": ["$s", "$s"]}}}, {"$group": {"_id": None, "all": {"$push": "$p"}}}],
    "pushing into one set": [{"$unwind": "$n"}, {"$group": {"_id": None, "all": {"$addToSet": {"$concat": [
        "$s", {"$toString": "$n"}, {"$toString": "$x"}]}}}}],
    "joining all with all": [{"$lookup": {"from": "c", "as": "l", "pipeline": [{"$project": {"x": 1}}]}}, {"$unwind": "$l"},
                             {"$lookup": {"from": "c", "as": "m", "pipeline": [{"$project": {"x": 1}}]}}, {"$unwind": "$m"},
                             {"$lookup": {"from": "c", "as": "o", "pipeline": [{"$project": {"x": 1}}]}}, {"$unwind": "$o"},
                             {"$count": "n"}],
    "joining with a pipeline": [{"$lookup": {"from": "c", "as": "l", "let": {"x": "$x"}, "pipeline": [
        {"$match": {"$expr": {"$gt": ["$x", {"$sum": {"$map": {"input": {"$range": [0, 100_000]}, "in": "$$x"}}}]}}}]}}],
    "searching a graph": [{"$set": {"k": {"$range": [0, 1000]}}}, {"$unwind": "$k"}, {"$graphLookup": {
        "from": "c", "startWith": "$next", "connectFromField": "next", "connectToField": "x", "as": "g"}}, {"$count": "n"}],
    "densifying": [{"$densify": {"field": "x", "range": {"step": 1e-9, "bounds": "full"}}}, {"$count": "n"}],
    "windows": [{"$unwind": "$n"}, {"$setWindowFields": {"sortBy": {"x": 1}, "output": {
        "p": {"$push": "$s", "window": {"documents": ["unbounded", "unbounded"]}}}}}, {"$count": "n"}],
    "many facets": [{"$facet": {f"f{i}": [{"$unwind": "$n"}, {"$group": {"_id": {"a": "$n", "b": "$x"}, "s": {"$push": "$s"}}},
                                          {"$count": "n"}] for i in range(80)}}],
    "facets of everything": [{"$facet": {f"f{i}": [{"$match": {}}] for i in range(200)}}],
    "sampling much": [{"$unwind": "$n"}, {"$set": {"m": {"$range": [0, 100]}}}, {"$unwind": "$m"}, {"$sample": {"size": 10_000_000}},
                      {"$count": "n"}],
    "buckets": [{"$unwind": "$n"}, {"$set": {"m": {"$range": [0, 50]}}}, {"$unwind": "$m"}, {"$bucketAuto": {"groupBy": "$s", "buckets": 4}}],
}


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_that_makes_much(db, kind):
    run(db, aggregate(STAGES[kind], allowDiskUse=False), BOUNDED, seconds=3, may_succeed=kind in ("searching a graph", "densifying"))


def test_sorting_and_grouping_more_than_fits(db):
    wide = [{"$unwind": "$n"}, {"$set": {"p": {"$concat": ["$s", "$s", {"$toString": "$n"}]}}}]
    for rest in (
        [{"$sort": {"p": 1, "x": -1}}, {"$count": "n"}],
        [{"$group": {"_id": {"p": "$p", "x": "$x"}}}, {"$count": "n"}],
        [{"$limit": 100_000}, {"$sort": {"p": 1, "x": -1}}, {"$count": "n"}],
    ):
        code = run(db, aggregate(wide + rest, allowDiskUse=False), {NO_DISK_USE} | IN_TIME, seconds=10)
        assert code == NO_DISK_USE or code in IN_TIME


def test_a_huge_in(db):
    values = list(range(700_000))
    run(db, find({"x": {"$in": values}}), IN_TIME, seconds=6, may_succeed=True)
    run(db, find({"_id": {"$in": values}}), IN_TIME, seconds=6, may_succeed=True)
    # Whatever a command has room for is legal in a write too.
    update = {"update": "c", "updates": [{"q": {"x": {"$in": list(range(1_200_000))}}, "u": {"$set": {"y": 1}}}]}
    assert run(db, update, BOUNDED, seconds=10, may_succeed=True) is None


def test_a_filter_that_takes_seconds_for_each_document(db):
    slow = {"$expr": {"$gt": [{"$sum": {"$map": {"input": {"$range": [0, 2_000_000]}, "in": {"$add": ["$$this", "$x"]}}}}, -1]}}
    for command in (
        find(slow), find(slow, batchSize=1), {"count": "c", "query": slow}, {"distinct": "c", "key": "x", "query": slow},
        aggregate([{"$match": slow}]), {"delete": "c", "deletes": [{"q": {"$nor": [slow]}, "limit": 0}]},
        {"update": "c", "updates": [{"q": slow, "u": {"$set": {"y": 1}}, "multi": True}]},
        {"findAndModify": "c", "query": {"$nor": [slow]}, "update": {"$set": {"y": 1}}},
    ):
        run(db, command, BOUNDED)


def test_a_validator_that_takes_long_for_each_document(db):
    db.drop_collection("guarded")
    db.create_collection("guarded", validator={"$jsonSchema": {"properties": {"s": {"pattern": EVIL}}}})
    documents = [{"_id": i, "s": "a" * 2000 + "b"} for i in range(300)]
    run(db, {"insert": "guarded", "documents": documents, "ordered": False}, None, seconds=5)


def test_without_a_time_limit_a_command_ends_by_itself(db):
    slow = loop(3, {"$add": ["$x", 1]})
    run(db, aggregate([{"$project": {"v": slow}}], on="one"), BOUNDED, seconds=None)


def test_nodes_took_no_more_memory_than_they_may(hostile):
    """Last: what the tests above did to the nodes' memory."""
    for before, after in zip(hostile.memory_before, memory_of_nodes(hostile)):
        assert after - before < GROWTH_BYTES_MAX, f"a node's memory peaked at {after >> 20} MiB, from {before >> 20} MiB"
