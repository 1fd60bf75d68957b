"""Unique keys: clients fight over names, give them up, and fight again."""

import collections

from faults.checkers.verdict import judged
from faults.history import FAILED, OK
from faults.workload import Workload, generation, registered

NAMES = 12


@registered
class Uniques(Workload):
    name = "unique"
    about = "inserts that fight over the values of a unique index"

    def prepare(self, db):
        db[self.name].create_index("name", unique=True)

    def act(self, client, elapsed):
        collection = client.db[self.name]
        name = f"{client.random.randrange(NAMES)}/{generation(elapsed, (2.0, 3.0))}"
        value = client.fresh()
        client.record("claim", name, value, lambda: collection.insert_one({"_id": value, "name": name}).acknowledged and None)

    def read_back(self, db):
        return [(document["name"], document["_id"]) for document in db[self.name].find()]

    def verdicts(self, operations, final, budget):
        """A name has one owner: the one that was told so, if anybody was; and it is nobody who was refused."""
        owners = collections.defaultdict(list)
        for name, value in final:
            owners[name].append(value)
        problems = [f"{name} has the owners {', '.join(values)}" for name, values in owners.items() if len(values) > 1]
        claims = {operation.argument: operation for operation in operations}
        for claim in operations:
            mine = claim.argument in owners[claim.key]
            if claim.outcome == OK and not mine:
                problems.append(f"{claim}: at the end the owner is {owners[claim.key]}")
            if claim.outcome == FAILED and mine:
                problems.append(f"{claim}: refused, yet it is the owner")
        for name, values in owners.items():
            problems += [f"{value} owns {name} and never claimed it" for value in values if value not in claims]
        # A refusal needs somebody who may have been there before it ended.
        first = {}
        for claim in operations:
            if claim.outcome != FAILED:
                first[claim.key] = min(first.get(claim.key, claim.began), claim.began)
        for claim in operations:
            if claim.outcome == FAILED and claim.error.startswith("11000") and first.get(claim.key, float("inf")) > claim.ended:
                problems.append(f"{claim}: refused, and nobody else had claimed it yet")
        return [judged("unique values have one owner", problems, f"{len(operations)} claims of {len(owners)} names", operations)]
