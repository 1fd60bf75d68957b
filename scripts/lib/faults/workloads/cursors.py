"""Cursors: long reads in small batches over documents that do not come or go, while their contents change."""

from faults.checkers.verdict import judged
from faults.history import OK
from faults.workload import Workload, registered

DOCUMENTS = 600
BATCH = 50


@registered
class Cursors(Workload):
    name = "cursor"
    about = "reads of a whole collection in small batches, beside updates of its documents"
    clients = 2

    def prepare(self, db):
        db.cursor.insert_many([{"_id": number, "round": 0} for number in range(DOCUMENTS)])

    def act(self, client, elapsed):
        collection = client.db.cursor
        if client.random.random() < 0.2:
            client.record("read", "all", None, lambda: [d["_id"] for d in collection.find({}, {"_id": 1}, batch_size=BATCH)])
        else:
            number = client.random.randrange(DOCUMENTS)
            client.record("update", str(number), None, lambda: collection.update_one(
                {"_id": number}, {"$inc": {"round": 1}}).matched_count)

    def verdicts(self, operations, final, budget):
        """A cursor that ends without an error has given each document once, whatever happened meanwhile."""
        problems, whole = [], 0
        for operation in operations:
            if operation.name == "read" and operation.outcome == OK:
                whole += 1
                if sorted(operation.result) != list(range(DOCUMENTS)):
                    problems.append(f"{len(operation.result)} documents, {len(set(operation.result))} different ones, instead of "
                                    f"{DOCUMENTS}: {operation.client}, {operation.began:.3f}-{operation.ended:.3f}")
        return [judged("cursors give each document once", problems,
                       f"{whole} cursors over {DOCUMENTS} documents were read to their end", whole)]
