"""What a workload is, the list of them all, and what its clients work with."""

import json
import random
import sys
import time

from pymongo import MongoClient
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, ServerSelectionTimeoutError

from faults.history import FAILED, OK, UNKNOWN, Operation, now

REGISTRY = {}
DATABASE = "faults"
DUPLICATE_KEY = 11000
OUT_OF_DISK_SPACE = 14031
# Between two operations of a client, so that the clients leave the processors to the nodes.
PAUSE_SECONDS = 0.004
TIMEOUTS = {"serverSelectionTimeoutMS": 4000, "connectTimeoutMS": 2000, "socketTimeoutMS": 10000}


def registered(kind):
    """Enters a kind of workload under its name."""
    assert kind.name not in REGISTRY, kind.name
    REGISTRY[kind.name] = kind
    return kind


class Client:
    """One thread's way to the cluster: a driver on all nodes, or on one after another; with retries or without."""

    def __init__(self, name, addresses, number, recorder, seed):
        # A file of the addresses there are: nodes come and go.
        self.name, self.addresses, self.recorder = name, addresses, recorder
        self.number, self.random = number, random.Random(seed)
        self.retries = number % 3 != 2
        self.is_direct = number % 2 == 1
        self.place = number
        self.count = self.failures = 0
        # What a workload wants to know again at the client's next operation.
        self.memory = None
        self.driver = None
        self.connect()

    def all_addresses(self):
        """Of the nodes that there are now."""
        return json.loads(self.addresses.read_text())

    def connect(self):
        if self.driver:
            self.driver.close()
        addresses = self.all_addresses()
        options = {**TIMEOUTS, "retryWrites": self.retries, "retryReads": self.retries}
        if self.is_direct:
            address = addresses[self.place % len(addresses)]
            self.driver = MongoClient(f"mongodb://{address}/?directConnection=true", **options)
        else:
            self.driver = MongoClient(f"mongodb://{','.join(addresses)}/", **options)

    @property
    def db(self):
        return self.driver[DATABASE]

    def fresh(self):
        """A value that no client has used before."""
        self.count += 1
        return f"{self.name}.{self.count}"

    def record(self, name, key, argument, call):
        """Makes a call and remembers how it went. Returns the operation."""
        began, error = now(), ""
        result = None
        try:
            result, outcome = call(), OK
        except ServerSelectionTimeoutError as failure:
            # Never sent: a try that was sent and failed is what the driver would have told of.
            outcome, error = FAILED, type(failure).__name__
        except BulkWriteError as failure:
            outcome, error = UNKNOWN, "BulkWriteError"
        except OperationFailure as failure:
            # A retry that finds the disk full says nothing about the try before it; one that finds its own document does not fail.
            definite = {DUPLICATE_KEY} if self.retries else {DUPLICATE_KEY, OUT_OF_DISK_SPACE}
            outcome = FAILED if failure.code in definite else UNKNOWN
            error = f"{failure.code} {str(failure)[:120]}"
        except PyMongoError as failure:
            outcome, error = UNKNOWN, f"{type(failure).__name__} {str(failure)[:120]}"
        operation = Operation(self.name, name, key, argument, result, outcome, began, now(), error)
        self.recorder.write(operation)
        if outcome != OK and not error.startswith(f"{DUPLICATE_KEY} "):
            self.failures += 1
            if self.is_direct or self.failures % 20 == 0:
                self.place += 1
                self.connect()
            time.sleep(0.05)
        return operation

    def close(self):
        self.driver.close()
        self.recorder.close()


class Workload:
    """What some clients do, again and again, and how it is judged afterwards."""

    name = ""
    about = ""
    clients = 4
    # The process of its clients.
    worker = (sys.executable, "-m", "faults.worker")

    def prepare(self, db):
        """Before any client starts."""

    def act(self, client, elapsed):
        """One or a few operations of a client, `elapsed` seconds after the workload began."""
        raise NotImplementedError

    def read_back(self, db):
        """What is there at the end, when the cluster is whole again; given to `verdicts`."""
        return None

    def verdicts(self, operations, final, budget):
        """What the checkers say. `budget` is how many seconds a search may take."""
        raise NotImplementedError


def generation(elapsed, lengths=(6.0, 11.0, 17.0)):
    """Names a set of keys that is in use for a while, so that no key's history grows too long to search."""
    return "".join(f"{int(elapsed / length)}." for length in lengths)
