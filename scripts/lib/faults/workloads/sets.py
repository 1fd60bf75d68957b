"""A set: clients insert documents, and read all of them back."""

from faults.checkers.ledger import set_verdicts
from faults.workload import Workload, generation, registered

PARTS = 4
READ_EVERY = 60
BATCH = 20


@registered
class Sets(Workload):
    name = "set"
    about = "inserts, one and twenty at a time, and reads of everything"

    def act(self, client, elapsed):
        collection = client.db[self.name]
        # Reads of everything stay affordable if each is of a part, to which nothing is added after a while.
        part = f"{client.random.randrange(PARTS)}/{generation(elapsed, (20.0, 33.0))}"
        draw = client.random.randrange(READ_EVERY)
        if draw == 0:
            client.record("read", part, None, lambda: [d["_id"] for d in collection.find({"part": part}, {"_id": 1})])
        elif draw == 1:
            values = [client.fresh() for _ in range(BATCH)]
            client.record("insert", part, values, lambda: len(collection.insert_many(
                [{"_id": value, "part": part, "text": "granite " * 8} for value in values], ordered=False).inserted_ids))
        else:
            value = client.fresh()
            client.record("insert", part, [value], lambda: collection.insert_one(
                {"_id": value, "part": part, "text": "granite " * 40}).acknowledged)

    def read_back(self, db):
        found = {}
        for document in db[self.name].find({}, {"part": 1}):
            found.setdefault(document["part"], []).append(document["_id"])
        return found

    def verdicts(self, operations, final, budget):
        return set_verdicts(operations, final)
