"""Retries: a client sends a write, and sends it again, to the same node or to another, whether or not it was answered."""

import uuid

import bson

from faults.checkers.ledger import counter_verdict
from faults.checkers.verdict import judged
from faults.history import OK, UNKNOWN, Operation, now
from faults.wire import ask
from faults.workload import DATABASE, Workload, generation, registered

KEYS = 4
SECONDS = 4.0


@registered
class Retries(Workload):
    name = "retry"
    about = "$inc by update and by findAndModify, each sent two times or three with the same transaction number"
    clients = 2

    def act(self, client, elapsed):
        session, number = client.memory or (None, 0)
        if session is None or number == 40:
            session, number = {"id": bson.Binary.from_uuid(uuid.UUID(int=client.random.getrandbits(128), version=4))}, 0
        client.memory = session, number + 1
        key = f"{client.random.randrange(KEYS)}/{generation(elapsed)}"
        change = {"$inc": {"count": 1}}
        if client.random.random() < 0.5:
            command = {"update": "retry", "updates": [{"q": {"_id": key}, "u": change, "upsert": True}]}
        else:
            command = {"findAndModify": "retry", "query": {"_id": key}, "update": change, "upsert": True, "new": True}
        command |= {"lsid": session, "txnNumber": bson.Int64(number)}
        began, addresses = now(), client.all_addresses()
        replies = [ask(client.random.choice(addresses), command, SECONDS, DATABASE) for _ in range(client.random.choice((2, 2, 3)))]
        told = [reply["value"]["count"] if "value" in reply else reply["n"]
                for reply in replies if reply and reply.get("ok") == 1 and not reply.get("writeErrors")]
        client.recorder.write(Operation(client.name, "add", key, None, told, OK if told else UNKNOWN, began, now()))

    def read_back(self, db):
        return {document["_id"]: document["count"] for document in db.retry.find()}

    def verdicts(self, operations, final, budget):
        """Every write happened once, and each try was told the same."""
        once = counter_verdict(operations, final)
        once.name = "retried writes happen once"
        differing = [str(operation) for operation in operations if operation.outcome == OK and len(set(operation.result)) > 1]
        answered = sum(len(operation.result or ()) > 1 for operation in operations)
        return [once, judged("a retry is told what the first try was told", differing, f"{answered} writes were answered again",
                             answered)]
