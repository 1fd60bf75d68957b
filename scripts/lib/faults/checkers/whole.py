"""What must hold of the cluster as a whole once the last fault was mended."""

import collections
import hashlib
import re
import time

import bson
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from faults.checkers.verdict import Verdict, judged
from faults.history import OK
from faults.wire import ask
from faults.workload import DATABASE

PROGRESS_SECONDS = 10
COMMAND_NOT_FOUND = 59
# A trap of Swift's, or a crash report of its runtime's.
CRASH = re.compile(r"Fatal error|Precondition failed|\*\*\* Signal|\*\*\* Program crashed|AddressSanitizer|stack smashing")
# A node may grow by caches that fill up; not by more than this.
GROWTH_BYTES = 512 << 20
DESCRIPTOR_GROWTH = 128


def progress_verdict(histories, leaderless_until, mended):
    """Every workload has an operation that began after the last fault was mended and was acknowledged within ten seconds."""
    problems, longest = [], 0.0
    if leaderless_until is None:
        problems.append("not every group had a leader again before the run ended")
    elif leaderless_until - mended > PROGRESS_SECONDS:
        problems.append(f"the last group had a leader {leaderless_until - mended:.1f} s after the last fault")
    for name, operations in histories.items():
        first = min((o.ended for o in operations if o.outcome == OK and o.began >= mended), default=None)
        if first is None:
            problems.append(f"{name}: nothing was acknowledged after the last fault")
        elif first - mended > PROGRESS_SECONDS:
            problems.append(f"{name}: the first acknowledgement came {first - mended:.1f} s after the last fault")
        else:
            longest = max(longest, first - mended)
    led = max(0.0, (leaderless_until or 0.0) - mended)
    return judged("progress after the last fault", problems,
                  f"every workload went on within {longest:.1f} s, every group was led within {led:.1f} s", histories)


def endings_verdict(cluster):
    """No node ended by itself, and no log tells of a crash."""
    problems = [f"node {number} {how}" for _, number, how in cluster.unexpected]
    for node in (*cluster.nodes.values(), *cluster.gone):
        for line in node.last_lines(100_000):
            if CRASH.search(line):
                problems.append(f"node {node.number}'s log: {line.strip()[:300]}")
    count = len(cluster.nodes) + len(cluster.gone)
    return judged("no node crashed", problems, f"{count} nodes ended only when they were told to", True)


def resources_verdict(cluster, baseline, still_after=10):
    """Descriptors and memory are about what they were before the first fault."""
    problems, largest = [], 0
    deadline = time.monotonic() + still_after
    while True:
        problems.clear()
        for number, (descriptors, resident) in baseline.items():
            now_open, now_resident = cluster.descriptors(number), cluster.resident_bytes(number)
            if None in (descriptors, resident, now_open, now_resident):
                continue
            largest = max(largest, now_resident)
            if now_open > descriptors + DESCRIPTOR_GROWTH:
                problems.append(f"node {number} has {now_open} descriptors open, {descriptors} before the first fault")
            if now_resident > resident + GROWTH_BYTES:
                problems.append(f"node {number} has {now_resident >> 20} MiB of memory, {resident >> 20} before the first fault")
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return judged("descriptors and memory are given back", problems, f"at most {largest >> 20} MiB a node", baseline)


def contents(db):
    """Collection -> how many documents, and a hash of all of them that does not depend on their order."""
    found = {}
    for name in sorted(db.list_collection_names()):
        digests = sorted(hashlib.sha256(bson.encode(document)).digest() for document in db[name].find(batch_size=1000))
        found[name] = (len(digests), hashlib.sha256(b"".join(digests)).hexdigest())
    return found


def damage_verdict(cluster, seconds=15):
    """No replica says that it is damaged. One that is gets made anew, so it has a while."""
    deadline = time.monotonic() + seconds
    while True:
        statuses = cluster.statuses()
        problems = [f"node {number}, group {replica['group']}: {replica['failure']}"
                    for number, status in statuses.items() for replica in status["groups"] if "failure" in replica]
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    count = sum(len(status["groups"]) for status in statuses.values())
    return judged("no replica is damaged", problems, f"{count} replicas on {len(statuses)} nodes", count)


def lead_everything(cluster, number, deadline):
    """Has a node lead every group of which it has a vote. False if it does not by the deadline."""
    with MongoClient(cluster.uri, serverSelectionTimeoutMS=10000) as client:
        while time.monotonic() < deadline:
            leaders, status = cluster.leaders(), cluster.status(number)
            groups = [r["group"] for r in status["groups"] if number in r["voters"]] if status else []
            waiting = [group for group in groups if leaders.get(group) != number]
            if groups and not waiting:
                return True
            # A group that has fallen silent hears of its new leader when somebody needs it.
            try:
                for collection in client[DATABASE].list_collection_names():
                    client[DATABASE][collection].count_documents({"no such field": 1})
            except PyMongoError:
                pass
            for group in waiting:
                ask(cluster.nodes[number].client, {"cairnMoveLeader": 1, "group": group, "node": number}, 5.0)
            time.sleep(0.2)
    return False


def replicas_verdict(cluster, seconds=90):
    """Every node in turn leads every group of which it has a vote, and what is read then is the same.

    Reads are answered by leaders alone, so this is how a replica is looked at from outside. Nobody writes meanwhile.
    """
    name = "all replicas are equal"
    deadline = time.monotonic() + seconds
    problems, seen, looked = [], {}, 0
    for number in cluster.numbers:
        if not lead_everything(cluster, number, deadline):
            return Verdict(name, None, f"no time: node {number} does not lead all of its groups after {seconds} s")
        address = f"mongodb://{cluster.nodes[number].client}/?directConnection=true"
        with MongoClient(address, serverSelectionTimeoutMS=10000) as client:
            try:
                for collection, (count, digest) in contents(client[DATABASE]).items():
                    looked += count
                    first = seen.setdefault(collection, (number, count, digest))
                    if first[1:] != (count, digest):
                        problems.append(f"{collection}: node {first[0]} has {first[1]} documents, hash {first[2][:12]}; "
                                        f"node {number} has {count}, hash {digest[:12]}")
                if missing := seen.keys() - set(client[DATABASE].list_collection_names()):
                    problems.append(f"node {number} lacks {', '.join(sorted(missing))}")
            except PyMongoError as failure:
                problems.append(f"node {number} cannot be read: {type(failure).__name__} {str(failure)[:200]}")
    return judged(name, problems, f"{looked} documents were read, from each of {len(cluster.nodes)} nodes as the leader", looked)


def indexes_verdict(db):
    """Documents and index entries agree: by `validate` where there is one, and by reading each collection through each index."""
    problems, checked, validated = [], 0, 0
    for name in sorted(db.list_collection_names()):
        try:
            answer = db.command("validate", name, full=True)
            validated += 1
            if not answer.get("valid"):
                problems.append(f"validate {name}: {answer}")
        except OperationFailure as failure:
            if failure.code != COMMAND_NOT_FOUND:
                problems.append(f"validate {name}: {failure}")
        everything = {document["_id"]: document for document in db[name].find()}
        for index, facts in db[name].index_information().items():
            if index == "_id_":
                continue
            checked += 1
            # Bounds over everything, so that it is the index that is read.
            field = facts["key"][0][0]
            found = [d["_id"] for d in db[name].find({field: {"$gte": bson.MinKey()}}, {"_id": 1}).hint(index)]
            twice = [number for number, count in collections.Counter(found).items() if count > 1]
            missing, extra = everything.keys() - set(found), set(found) - everything.keys()
            for text, ids in (("missing", missing), ("extra", extra), ("twice", twice)):
                if ids:
                    problems.append(f"{name}.{index}: {len(ids)} entries {text}, {sorted(map(str, ids))[:3]} among them")
            if facts.get("unique"):
                values = [str(d.get(field)) for d in everything.values()]
                if len(values) != len(set(values)):
                    count = len(values) - len(set(values))
                    problems.append(f"{name}.{index} is unique, and {count} documents have a value of another's")
    text = f"{checked} indexes read beside their documents; validate looked at {validated} collections"
    return judged("documents and index entries agree", problems, text, checked or validated)
