"""Secondary indexes: documents move through an index's values while others read through it."""

from faults.checkers.verdict import judged
from faults.history import FAILED, OK
from faults.workload import Workload, registered

DOCUMENTS = 200
COLOURS = ("basalt", "chalk", "granite", "marble", "slate")


@registered
class Indexed(Workload):
    name = "indexed"
    about = "reads through a secondary index beside updates of the indexed field"
    clients = 3

    def prepare(self, db):
        db.indexed.insert_many([{"_id": number, "kind": COLOURS[number % 5], "turn": 0} for number in range(DOCUMENTS)])
        db.indexed.create_index("kind")

    def act(self, client, elapsed):
        collection = client.db.indexed
        draw = client.random.random()
        kind = client.random.choice(COLOURS)
        if draw < 0.6:
            number = client.random.randrange(DOCUMENTS)
            client.record("update", str(number), kind, lambda: collection.update_one(
                {"_id": number}, {"$set": {"kind": kind}, "$inc": {"turn": 1}}).matched_count)
        else:
            client.record("read", kind, None, lambda: [
                [d["_id"], d["kind"]] for d in collection.find({"kind": kind}, {"kind": 1}).hint("kind_1")])

    def read_back(self, db):
        kinds = {kind: sorted(d["_id"] for d in db.indexed.find({"kind": kind}).hint("kind_1")) for kind in COLOURS}
        return {"by index": kinds, "documents": {d["_id"]: (d["kind"], d["turn"]) for d in db.indexed.find()}}

    def verdicts(self, operations, final, budget):
        """A read through the index gives no document twice and none of another kind; at the end the index gives just what is
        there, and each document was updated as often as was acknowledged, or more by what is unknown."""
        problems, least, most = [], {}, {}
        for operation in operations:
            if operation.name == "read" and operation.outcome == OK:
                ids = [number for number, _ in operation.result]
                if len(ids) != len(set(ids)):
                    problems.append(f"a document is twice in {operation}")
                if any(kind != operation.key for _, kind in operation.result):
                    problems.append(f"a document of another kind is in {operation}")
            elif operation.name == "update":
                most[operation.key] = most.get(operation.key, 0) + (operation.outcome != FAILED)
                if operation.outcome == OK:
                    least[operation.key] = least.get(operation.key, 0) + 1
                    if operation.result != 1:
                        problems.append(f"no document was found by {operation}")
        documents = final["documents"]
        for kind, ids in final["by index"].items():
            if ids != sorted(number for number, (other, _) in documents.items() if other == kind):
                problems.append(f"at the end the index and the documents disagree about {kind}")
        for number, (_, turn) in documents.items():
            if not least.get(str(number), 0) <= turn <= most.get(str(number), 0):
                problems.append(f"document {number} was updated {turn} times; {least.get(str(number), 0)} were acknowledged, "
                                f"{most.get(str(number), 0)} may have happened")
        if len(documents) != DOCUMENTS:
            problems.append(f"{len(documents)} documents instead of {DOCUMENTS}")
        return [judged("reads through an index are right", problems,
                       f"{len(operations)} operations on {DOCUMENTS} documents", operations)]
