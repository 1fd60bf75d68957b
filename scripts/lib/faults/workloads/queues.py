"""A queue: clients put jobs in, and take one each."""

import collections

from pymongo import ReturnDocument

from faults.checkers.verdict import judged
from faults.history import FAILED, OK
from faults.workload import Workload, registered


@registered
class Queues(Workload):
    name = "queue"
    about = "jobs are inserted, and taken by findOneAndUpdate through an index on their state"
    clients = 3

    def prepare(self, db):
        db.queue.create_index("state")

    def act(self, client, elapsed):
        collection = client.db.queue
        if client.random.random() < 0.55:
            job = client.fresh()
            client.record("put", job, None, lambda: collection.insert_one({"_id": job, "state": "ready"}).acknowledged and None)
        else:
            taker = client.fresh()
            client.record("take", taker, None, lambda: (collection.find_one_and_update(
                {"state": "ready"}, {"$set": {"state": "taken", "taker": taker}},
                return_document=ReturnDocument.AFTER) or {}).get("_id"))

    def read_back(self, db):
        return {job["_id"]: job.get("taker") for job in db.queue.find()}

    def verdicts(self, operations, final, budget):
        """No job is given to two, none is lost, none is taken by somebody whose taking failed."""
        puts = {o.key: o for o in operations if o.name == "put"}
        takes = {o.key: o for o in operations if o.name == "take"}
        problems, given = [], collections.defaultdict(list)
        for take in takes.values():
            if take.outcome == OK and take.result is not None:
                given[take.result].append(take)
                if final.get(take.result) != take.key:
                    problems.append(f"{take}: at the end the job is taken by {final.get(take.result)}")
        problems += [f"{job} was given to {len(takers)}: {takers[0]}; {takers[1]}"
                     for job, takers in given.items() if len(takers) > 1]
        problems += [f"{put} is not there" for job, put in puts.items() if put.outcome == OK and job not in final]
        problems += [f"{put} is there" for job, put in puts.items() if put.outcome == FAILED and job in final]
        taken = collections.Counter(taker for taker in final.values() if taker)
        for job, taker in final.items():
            if taker and (taker not in takes or takes[taker].outcome == FAILED):
                problems.append(f"{job} is taken by {taker}, who was told that nothing happened: {takes.get(taker)}")
        problems += [f"{taker} has {count} jobs" for taker, count in taken.items() if count > 1]
        return [judged("every job has one taker", problems, f"{len(puts)} jobs, {len(taken)} taken", puts)]
