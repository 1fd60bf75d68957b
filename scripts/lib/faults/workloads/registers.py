"""Registers: clients read, write, and compare and set."""

from pymongo import ReturnDocument

from faults.checkers.linearizability import Register, linearizability_verdict
from faults.crowd import Crowd
from faults.workload import Workload, generation, registered

KEYS = 6
WRITERS = 6


@registered
class Registers(Workload):
    name = "register"
    about = "reads, writes, and compare-and-set by findAndModify, on a few documents at a time; and reads that never wait"
    clients = WRITERS + 2

    def act(self, client, elapsed):
        collection = client.db[self.name]
        key = f"{client.random.randrange(KEYS)}/{generation(elapsed)}"
        if client.number >= WRITERS:
            client.memory = client.memory or Crowd(client)
            return client.memory.act(self.name, key, lambda document: document.get("value"))
        draw = client.random.random()
        if draw < 0.45:
            read = client.record("read", key, None, lambda: (collection.find_one({"_id": key}) or {}).get("value"))
            client.memory = (key, read.result)
        elif draw < 0.65:
            value = client.fresh()
            client.record("write", key, value, lambda: collection.update_one(
                {"_id": key}, {"$set": {"value": value}}, upsert=True).acknowledged and None)
        else:
            seen, old = client.memory or (None, None)
            if seen != key or old is None:
                read = client.record("read", key, None, lambda: (collection.find_one({"_id": key}) or {}).get("value"))
                old = read.result
            if old is None:
                return
            new = client.fresh()
            client.record("cas", key, [old, new], lambda: collection.find_one_and_update(
                {"_id": key, "value": old}, {"$set": {"value": new}}, return_document=ReturnDocument.AFTER) is not None)

    def verdicts(self, operations, final, budget):
        return [linearizability_verdict("registers are linearizable", operations, Register, budget)]
