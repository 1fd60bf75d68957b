"""A process of clients of one workload. It goes on until its standard input ends, so it never outlives the run."""

import json
import pathlib
import sys
import threading
import time
import traceback

from faults import workload, workloads  # noqa: F401
from faults.history import Recorder


def work(task, client, began, stopped, failures):
    try:
        while not stopped.is_set():
            task.act(client, time.monotonic() - began)
            time.sleep(workload.PAUSE_SECONDS)
    except Exception:  # A mistake of the workload's own ends the run.
        failures.append(traceback.format_exc())
    finally:
        client.close()


def main():
    given = json.loads(sys.stdin.readline())
    folder = pathlib.Path(given["folder"])
    task, stopped, failures, threads = workload.REGISTRY[given["workload"]](), threading.Event(), [], []
    for number in range(task.clients):
        name = f"{task.name}{number}"
        recorder = Recorder(folder / f"{task.name}-{number}.jsonl")
        client = workload.Client(name, folder / "addresses", number, recorder, f"{given['seed']} {name}")
        threads.append(threading.Thread(target=work, args=(task, client, given["began"], stopped, failures)))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()
    print("".join(failures), end="")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
