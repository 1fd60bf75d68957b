"""What a run came to: a text for people, a line of JSON for machines."""

import collections
import json

from faults.history import FAILED, OK, UNKNOWN
from report import machine, print_table


def counts(operations):
    return collections.Counter(operation.outcome for operation in operations)


def longest_gap(operations, until):
    """The longest time without an acknowledgement."""
    ends = sorted(o.ended for o in operations if o.outcome == OK)
    return max((b - a for a, b in zip(ends, ends[1:])), default=until)


def print_text(outcome):
    print(f"\n{outcome.what}: {outcome.nodes} nodes ({outcome.wiring}), seed {outcome.seed}, {len(outcome.bands)} faults; "
          f"{machine()}\n")
    table = [("workload", "acknowledged", "failed", "unknown", "longest gap s")]
    for name, operations in outcome.histories.items():
        count = counts(operations)
        gap = longest_gap(operations, 0.0)
        table.append((name, f"{count[OK]}", f"{count[FAILED]}", f"{count[UNKNOWN]}", f"{gap:.1f}"))
    print_table(table, words=1)
    print()
    for verdict in outcome.verdicts:
        print(f"{verdict.word:<9}  {verdict.name}: {verdict.text}")
        for line in verdict.details if verdict.kept is False else ():
            print(f"             {line}")
    print(f"\nthe same again: {outcome.command}")


def line(outcome, report=None):
    """The line of JSON that ends a run."""
    return json.dumps({
        "faults": outcome.what, "seed": outcome.seed, "nodes": outcome.nodes, "minutes": outcome.minutes,
        "wiring": outcome.wiring, "version": outcome.version, "machine": machine(), "good": outcome.is_good,
        "command": outcome.command,
        "episodes": [{"fault": band.fault, "text": band.text, "began": round(band.began, 2), "ended": round(band.ended, 2)}
                     for band in outcome.bands],
        "workloads": {name: dict(counts(operations)) for name, operations in outcome.histories.items()},
        "verdicts": {verdict.name: verdict.word.lower() for verdict in outcome.verdicts},
        "folder": str(outcome.folder) if outcome.folder else None, "report": str(report) if report else None,
    })
