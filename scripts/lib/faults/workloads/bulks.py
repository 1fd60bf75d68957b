"""Bulk loads: many documents in one command, in no order."""

from faults.checkers.verdict import judged
from faults.history import FAILED, OK
from faults.workload import Workload, registered

DOCUMENTS = 200
# So that bulk loads are part of the load and not all of it.
ONE_IN = 25


@registered
class Bulks(Workload):
    name = "bulk"
    about = "insertMany of two hundred documents at a time, which count all or in part, but each once"
    clients = 1

    def act(self, client, elapsed):
        if client.random.randrange(ONE_IN):
            return
        load = client.fresh()
        client.record("load", load, DOCUMENTS, lambda: len(client.db.bulk.insert_many(
            [{"_id": f"{load}/{number}", "load": load, "text": f"{number} " * 60} for number in range(DOCUMENTS)],
            ordered=False).inserted_ids))

    def read_back(self, db):
        found = {}
        for document in db.bulk.find({}, {"load": 1}):
            found[document["load"]] = found.get(document["load"], 0) + 1
        return found

    def verdicts(self, operations, final, budget):
        problems = []
        for load in operations:
            count = final.get(load.key, 0)
            if load.outcome == OK and count != DOCUMENTS or load.outcome == FAILED and count:
                problems.append(f"{count} documents of {load} are there")
        known = {operation.key for operation in operations}
        problems += [f"{load} was never loaded" for load in final if load not in known]
        return [judged("bulk loads are whole", problems, f"{len(operations)} loads, {sum(final.values())} documents", operations)]
