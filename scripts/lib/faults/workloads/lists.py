"""Lists: clients append to a document's array, and read it."""

from faults.checkers.linearizability import AppendList, linearizability_verdict
from faults.workload import Workload, generation, registered

KEYS = 3


@registered
class Lists(Workload):
    name = "list"
    about = "$push of values that nobody has pushed before, and reads"
    clients = 3

    def act(self, client, elapsed):
        collection = client.db[self.name]
        key = f"{client.random.randrange(KEYS)}/{generation(elapsed)}"
        if client.random.random() < 0.5:
            client.record("read", key, None, lambda: (collection.find_one({"_id": key}) or {}).get("values", []))
        else:
            value = client.fresh()
            client.record("append", key, value, lambda: collection.update_one(
                {"_id": key}, {"$push": {"values": value}}, upsert=True).acknowledged and None)

    def verdicts(self, operations, final, budget):
        return [linearizability_verdict("lists are linearizable", operations, AppendList, budget)]
