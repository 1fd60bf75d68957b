"""What the clients remember: every operation with its call, its answer, and the moments of both."""

import dataclasses
import json
import pathlib
import time

# The answer came and says what happened.
OK = "ok"
# The answer came and says that nothing happened.
FAILED = "failed"
# Whether it happened is not known and never will be.
UNKNOWN = "unknown"


@dataclasses.dataclass(slots=True)
class Operation:
    """One call. Moments are seconds since the run's clients began."""

    client: str
    name: str
    key: str
    argument: object
    result: object
    outcome: str
    began: float
    ended: float
    error: str = ""

    def __str__(self):
        argument = "" if self.argument is None else f" {shortened(self.argument)}"
        if self.outcome == OK:
            answer = "" if self.result is None and self.name != "read" else f" -> {shortened(self.result)}"
        else:
            answer = f" {self.outcome} ({self.error})" if self.error else f" {self.outcome}"
        return f"{self.began:.6f}-{self.ended:.6f} {self.client} {self.name} {self.key}{argument}{answer}"


def shortened(value, limit=80):
    text = json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Recorder:
    """Appends operations to a file as they end, a line each. One thread's own.

    In the file the moments are those of the machine's monotonic clock, which all processes of a run share.
    """

    def __init__(self, path):
        self.file = open(path, "w", buffering=1)

    def write(self, operation):
        self.file.write(json.dumps(dataclasses.astuple(operation)) + "\n")

    def close(self):
        self.file.close()


def load(folder, workload, start):
    """All operations of a workload in the order of their calls, with their moments counted from `start`."""
    operations = []
    for path in pathlib.Path(folder).glob(f"{workload}-*.jsonl"):
        with open(path) as file:
            for line in file:
                if line.endswith("\n"):
                    operation = Operation(*json.loads(line))
                    operation.began, operation.ended = operation.began - start, operation.ended - start
                    operations.append(operation)
    operations.sort(key=lambda operation: operation.began)
    return operations


def now():
    return time.monotonic()
