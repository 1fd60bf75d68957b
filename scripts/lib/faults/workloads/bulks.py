"""Bulk loads: many documents in one command; older loads are deleted again."""

from faults.checkers.verdict import judged
from faults.history import FAILED, OK, UNKNOWN
from faults.workload import Workload, registered

DOCUMENTS = 200
# So that bulk loads are part of the load and not all of it.
ONE_IN = 25
KEPT = 30


@registered
class Bulks(Workload):
    name = "bulk"
    about = "insertMany of two hundred documents at a time, in no order, and deleteMany of older ones"
    clients = 1

    def act(self, client, elapsed):
        if client.random.randrange(ONE_IN):
            return
        load, collection = client.fresh(), client.db.bulk
        loads = client.memory = [*(client.memory or []), load]
        client.record("load", load, DOCUMENTS, lambda: len(collection.insert_many(
            [{"_id": f"{load}/{number}", "load": load, "text": f"{number} " * 60} for number in range(DOCUMENTS)],
            ordered=False).inserted_ids))
        if len(loads) > KEPT:
            oldest = loads.pop(0)
            client.record("unload", oldest, None, lambda: collection.delete_many({"load": oldest}).deleted_count)

    def read_back(self, db):
        found = {}
        for document in db.bulk.find({}, {"load": 1}):
            found[document["load"]] = found.get(document["load"], 0) + 1
        return found

    def verdicts(self, operations, final, budget):
        """Of a load that was acknowledged everything is there until it is deleted, and then nothing."""
        loads = {o.key: o for o in operations if o.name == "load"}
        unloads = {o.key: o for o in operations if o.name == "unload"}
        problems = [f"{load} was never loaded" for load in final if load not in loads]
        for key, load in loads.items():
            count, unload = final.get(key, 0), unloads.get(key)
            if load.outcome == FAILED and count:
                problems.append(f"{count} documents of {key} are there: {load}")
            # Where the load's outcome is unknown, what is under way may come in after the deletion.
            if load.outcome != OK:
                continue
            if unload and unload.outcome == OK and (count or unload.result != DOCUMENTS):
                problems.append(f"{count} documents of {key} are there after {unload}")
            if not (unload and unload.outcome in (OK, UNKNOWN)) and count != DOCUMENTS:
                problems.append(f"{count} documents of {key} are there: {load}")
        return [judged("bulk loads are whole", problems,
                       f"{len(loads)} loads, {len(unloads)} deletions, {sum(final.values())} documents", loads)]
