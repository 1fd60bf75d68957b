"""The aggregation stages that read or write other collections or look around in theirs, through pymongo against three nodes."""

import datetime
import threading

import pytest
from bson import Int64
from pymongo.errors import OperationFailure


def failing(db, pipeline, source="s"):
    with pytest.raises(OperationFailure) as failure:
        list(db[source].aggregate(pipeline))
    return failure.value.code


def contents(collection):
    return list(collection.find().sort("_id", 1))


# $out


def test_out_makes_replaces_and_empties_a_collection(db):
    db.s.insert_many([{"_id": i, "v": i % 3} for i in range(2500)])
    assert list(db.s.aggregate([{"$out": "t"}])) == []
    assert contents(db.t) == contents(db.s)
    db.s.aggregate([{"$group": {"_id": "$v", "n": {"$sum": 1}}}, {"$out": "t"}])
    assert contents(db.t) == [{"_id": 0, "n": 834}, {"_id": 1, "n": 833}, {"_id": 2, "n": 833}]
    db.s.aggregate([{"$match": {"v": 7}}, {"$out": "t"}])
    assert contents(db.t) == []
    assert sorted(db.list_collection_names()) == ["s", "t"]


def test_out_into_another_database_and_over_its_own_source(db, shared_client):
    other = shared_client[db.name + "_o"]
    try:
        db.s.insert_many([{"_id": i} for i in range(10)])
        db.s.aggregate([{"$match": {"_id": {"$lt": 5}}}, {"$out": {"db": other.name, "coll": "t"}}])
        assert other.t.count_documents({}) == 5
        db.s.aggregate([{"$match": {"_id": {"$gte": 8}}}, {"$out": "s"}])
        assert contents(db.s) == [{"_id": 8}, {"_id": 9}]
    finally:
        shared_client.drop_database(other.name)


def test_out_keeps_indexes_and_leaves_the_target_alone_when_it_fails(db):
    db.t.create_index("v", unique=True)
    db.t.insert_one({"_id": "old", "v": 1})
    db.s.insert_many([{"_id": i, "v": 5} for i in range(10)])
    assert failing(db, [{"$out": "t"}]) == 11000
    assert contents(db.t) == [{"_id": "old", "v": 1}]
    assert sorted(db.list_collection_names()) == ["s", "t"]
    db.s.aggregate([{"$limit": 1}, {"$out": "t"}])
    assert db.t.count_documents({}) == 1
    assert db.t.index_information()["v_1"]["unique"]


def test_a_reader_sees_what_was_before_out_or_what_is_after_it(db):
    db.s.insert_many([{"_id": i, "g": 0} for i in range(500)])
    db.s.aggregate([{"$out": "t"}])
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            generations = [d["g"] for d in db.t.find(batch_size=1000)]
            seen.add((len(generations), len(set(generations))))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for generation in range(1, 6):
            db.s.aggregate([{"$set": {"g": generation}}, {"$out": "t"}])
    finally:
        stop.set()
        reader.join()
    assert seen == {(500, 1)}
    assert db.t.distinct("g") == [5]


# $merge


OLD = {"_id": 1, "a": 1, "keep": True}
OTHER = {"_id": 9, "a": 9}
NEW = {"_id": 2, "a": 20}


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [{"_id": 1, "a": 10, "keep": True}, NEW, OTHER]),
        ({"whenMatched": "replace"}, [{"_id": 1, "a": 10}, NEW, OTHER]),
        ({"whenMatched": "keepExisting"}, [OLD, NEW, OTHER]),
        ({"whenNotMatched": "discard"}, [{"_id": 1, "a": 10, "keep": True}, OTHER]),
        ({"whenMatched": "replace", "whenNotMatched": "discard"}, [{"_id": 1, "a": 10}, OTHER]),
        ({"whenMatched": [{"$set": {"a": {"$add": ["$a", "$$new.a"]}}}]}, [{"_id": 1, "a": 11, "keep": True}, NEW, OTHER]),
        (
            {"let": {"k": {"$multiply": ["$a", 2]}}, "whenMatched": [{"$set": {"a": "$$k"}}], "whenNotMatched": "discard"},
            [{"_id": 1, "a": 20, "keep": True}, OTHER],
        ),
    ],
)
def test_merge_in_every_mode(db, options, expected):
    db.t.insert_many([OLD, OTHER])
    db.s.insert_many([{"_id": 1, "a": 10}, NEW])
    assert list(db.s.aggregate([{"$merge": {"into": "t", **options}}])) == []
    assert contents(db.t) == expected


def test_merge_that_must_or_must_not_match(db):
    db.t.insert_many([OLD])
    db.s.insert_many([{"_id": 1, "a": 10}, NEW])
    assert failing(db, [{"$merge": {"into": "t", "whenMatched": "fail"}}]) == 11000
    assert db.t.find_one({"_id": 1}) == OLD
    db.u.insert_many([OLD])
    assert failing(db, [{"$merge": {"into": "u", "whenNotMatched": "fail"}}]) == 13113
    assert contents(db.u) == [{"_id": 1, "a": 10, "keep": True}]


def test_merge_by_a_unique_index(db):
    db.s.insert_many([{"k": "x", "n": 1}, {"k": "y", "n": 2}])
    pipeline = [{"$project": {"_id": 0}}, {"$merge": {"into": "t", "on": "k"}}]
    assert failing(db, pipeline) == 51183
    db.t.create_index("k", unique=True)
    db.t.insert_one({"_id": "old", "k": "x", "m": 5})
    db.s.aggregate(pipeline)
    db.s.aggregate(pipeline)
    assert db.t.find_one({"k": "x"}) == {"_id": "old", "k": "x", "m": 5, "n": 1}
    assert db.t.count_documents({}) == 2


def test_merge_of_many_documents_and_into_the_source(db):
    db.s.insert_many([{"_id": i, "v": i} for i in range(5000)])
    db.s.aggregate([{"$set": {"v": {"$multiply": ["$v", 2]}}}, {"$merge": "s"}])
    assert [d["v"] for d in contents(db.s)] == [2 * i for i in range(5000)]
    db.s.aggregate([{"$group": {"_id": {"$mod": ["$_id", 10]}, "n": {"$sum": 1}}}, {"$merge": {"into": "t"}}])
    assert contents(db.t) == [{"_id": i, "n": 500} for i in range(10)]


def test_outputs_stand_last_and_nowhere_else(db):
    db.s.insert_one({})
    assert failing(db, [{"$out": "t"}, {"$match": {}}]) == 40601
    assert failing(db, [{"$facet": {"a": [{"$merge": "t"}]}}]) == 40600
    assert failing(db, [{"$unionWith": {"coll": "s", "pipeline": [{"$out": "t"}]}}]) == 31441
    assert failing(db, [{"$out": {"db": "config", "coll": "collections"}}]) == 31321


# $graphLookup and $unionWith


def test_graph_lookup_follows_references(db):
    db.people.insert_many([{"_id": i, "boss": i // 2} for i in range(1, 200)])
    stage = {"from": "people", "startWith": "$boss", "connectFromField": "boss", "connectToField": "_id", "as": "chain"}
    found = next(db.people.aggregate([{"$match": {"_id": 150}}, {"$graphLookup": {**stage, "depthField": "d"}}]))
    assert sorted((p["d"], p["_id"]) for p in found["chain"]) == list(enumerate([75, 37, 18, 9, 4, 2, 1]))
    assert isinstance(found["chain"][0]["d"], (int, Int64))
    everyone = list(db.people.aggregate([{"$graphLookup": {**stage, "maxDepth": 1}}]))
    assert all(len(p["chain"]) == min(2, p["_id"].bit_length() - 1) for p in everyone)
    assert failing(db, [{"$graphLookup": {**stage, "maxDepth": -1}}]) == 40101


def test_graph_lookup_that_finds_too_much_is_an_error(db):
    text = "x" * 100_000
    db.big.insert_many([{"_id": i, "next": i + 1, "text": text} for i in range(400)])
    stage = {"from": "big", "startWith": 0, "connectFromField": "next", "connectToField": "_id", "as": "all"}
    db.s.insert_one({})
    assert failing(db, [{"$graphLookup": {**stage, "maxDepth": 250}}]) == 10334


def test_union_with_is_as_long_as_it_is(db):
    db.a.insert_many([{"_id": i} for i in range(10)])
    db.b.insert_many([{"_id": i, "v": i % 2} for i in range(6000)])
    assert len(list(db.a.aggregate([{"$unionWith": "b"}]))) == 6010
    union = {"$unionWith": {"coll": "b", "pipeline": [{"$match": {"$expr": {"$eq": ["$v", "$$v"]}}}]}}
    assert list(db.a.aggregate([union, {"$count": "n"}], let={"v": 1})) == [{"n": 3010}]
    cursor = db.a.aggregate([{"$unionWith": "b"}], batchSize=5)
    next(cursor)
    cursor.close()


# $setWindowFields


def test_windows_over_documents_of_all_groups(db):
    db.s.insert_many([{"_id": i, "p": i % 3, "x": i, "v": 1} for i in range(900)])
    stage = {
        "partitionBy": "$p",
        "sortBy": {"x": 1},
        "output": {
            "running": {"$sum": "$v", "window": {"documents": ["unbounded", "current"]}},
            "near": {"$sum": "$v", "window": {"range": [-3, 3]}},
            "rank": {"$rank": {}},
            "before": {"$shift": {"output": "$x", "by": -1, "default": None}},
        },
    }
    rows = list(db.s.aggregate([{"$setWindowFields": stage}]))
    assert [row["p"] for row in rows] == sorted(i % 3 for i in range(900))
    for row in rows:
        place = row["x"] // 3
        assert (row["running"], row["rank"]) == (place + 1, place + 1)
        assert row["near"] == 3 - (place == 0) - (place == 299)
        assert row["before"] == (row["x"] - 3 if place else None)


def test_windows_by_time(db):
    start = datetime.datetime(2024, 1, 1)
    db.s.insert_many([{"_id": i, "at": start + datetime.timedelta(hours=8 * i), "v": i} for i in range(12)])
    stage = {
        "sortBy": {"at": 1},
        "output": {
            "day": {"$push": "$v", "window": {"range": [-1, "current"], "unit": "day"}},
            "slope": {"$derivative": {"input": "$v", "unit": "day"}, "window": {"documents": [-1, 0]}},
        },
    }
    rows = list(db.s.aggregate([{"$setWindowFields": stage}]))
    assert rows[5]["day"] == [2, 3, 4, 5]
    assert rows[0]["slope"] is None
    assert rows[5]["slope"] == pytest.approx(3)


# $densify, $fill, $bucketAuto, $collStats


def test_gaps_are_made_whole(db):
    db.s.insert_many([{"_id": i, "x": i, "v": i} for i in range(0, 40, 4)])
    rows = list(
        db.s.aggregate(
            [
                {"$densify": {"field": "x", "range": {"step": 1, "bounds": "full"}}},
                {"$fill": {"sortBy": {"x": 1}, "output": {"v": {"method": "linear"}, "made": {"value": "$_id"}}}},
            ]
        )
    )
    assert [row["x"] for row in rows] == list(range(37))
    assert [row["v"] for row in rows] == list(range(37))


def test_buckets_on_preferred_numbers(db):
    db.s.insert_many([{"_id": i} for i in range(100)])
    stage = {"groupBy": "$_id", "buckets": 5, "granularity": "R5"}
    assert list(db.s.aggregate([{"$bucketAuto": stage}])) == [
        {"_id": {"min": 0, "max": 25}, "count": 25},
        {"_id": {"min": 25, "max": 63}, "count": 38},
        {"_id": {"min": 63, "max": 100}, "count": 37},
    ]


def test_collection_statistics_as_a_stage(db):
    db.s.insert_many([{"_id": i} for i in range(100)])
    stages = [{"$collStats": {"count": {}, "storageStats": {}}}]
    found = next(db.s.aggregate(stages))
    assert (found["ns"], found["count"], found["storageStats"]["nindexes"]) == (f"{db.name}.s", 100, 1)
    assert list(db.s.aggregate([*stages, {"$project": {"n": "$storageStats.count"}}])) == [{"n": 100}]
    assert failing(db, [{"$collStats": {"count": {}}}], source="none") == 26
