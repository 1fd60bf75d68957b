"""Counters: clients add one, with and without asking what came of it, and read."""

from pymongo import ReturnDocument

from faults.checkers.ledger import counter_verdict
from faults.checkers.linearizability import Counter, linearizability_verdict
from faults.workload import Workload, generation, registered

KEYS = 4


@registered
class Counters(Workload):
    name = "counter"
    about = "$inc by update and by findAndModify, and reads"

    def act(self, client, elapsed):
        collection = client.db[self.name]
        key = f"{client.random.randrange(KEYS)}/{generation(elapsed)}"
        draw = client.random.random()
        if draw < 0.4:
            client.record("read", key, None, lambda: (collection.find_one({"_id": key}) or {}).get("count", 0))
        elif draw < 0.7:
            client.record("add", key, None, lambda: collection.update_one(
                {"_id": key}, {"$inc": {"count": 1}}, upsert=True).acknowledged and None)
        else:
            client.record("add", key, None, lambda: collection.find_one_and_update(
                {"_id": key}, {"$inc": {"count": 1}}, upsert=True, return_document=ReturnDocument.AFTER)["count"])

    def read_back(self, db):
        return {document["_id"]: document["count"] for document in db[self.name].find()}

    def verdicts(self, operations, final, budget):
        return [
            counter_verdict(operations, final),
            linearizability_verdict("counters are linearizable", operations, Counter, budget),
        ]
