"""What a run came to: a text for people, a line of JSON for machines."""

import bisect
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


def longest_gap_during(ends, band):
    """The longest time without an acknowledgement that has a part in a fault, from its beginning until all was mended."""
    first = max(bisect.bisect_right(ends, band.began) - 1, 0)
    last = bisect.bisect_left(ends, band.mended) + 1
    return max((b - a for a, b in zip(ends[first:last], ends[first + 1:last])), default=0.0)


def effects(outcome):
    """For each kind of fault: how often it was, and the longest time in which no client, and in which clients of one kind, got on."""
    each = [sorted(o.ended for o in operations if o.outcome == OK) for operations in outcome.histories.values()]
    together = sorted(end for ends in each for end in ends)
    found = {}
    for band in outcome.bands:
        times, nobody, somebody = found.get(band.fault, (0, 0.0, 0.0))
        found[band.fault] = (
            times + 1, max(nobody, longest_gap_during(together, band)),
            max([somebody, *(longest_gap_during(ends, band) for ends in each)]))
    return found


def print_text(outcome):
    print(f"\n{outcome.what}: {outcome.nodes} nodes ({outcome.wiring}), seed {outcome.seed}, {len(outcome.bands)} faults; "
          f"{machine()}\n")
    if outcome.defects:
        print(f"the nodes had deliberate bugs: {outcome.defects}\n")
    table = [("workload", "acknowledged", "failed", "unknown", "longest gap s")]
    for name, operations in outcome.histories.items():
        count = counts(operations)
        gap = longest_gap(operations, 0.0)
        table.append((name, f"{count[OK]}", f"{count[FAILED]}", f"{count[UNKNOWN]}", f"{gap:.1f}"))
    print_table(table, words=1)
    print()
    table = [("fault", "times", "s without any progress", "s without progress of one workload")]
    for kind, (times, nobody, somebody) in sorted(effects(outcome).items()):
        table.append((kind, f"{times}", f"{nobody:.1f}", f"{somebody:.1f}"))
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
        "wiring": outcome.wiring, "version": outcome.version, "machine": machine(),
        "defect": outcome.defects, "good": outcome.is_good, "command": outcome.command,
        "episodes": [{"fault": band.fault, "text": band.text, "began": round(band.began, 2), "ended": round(band.ended, 2)}
                     for band in outcome.bands],
        "effects": {kind: {"times": times, "no_progress_s": round(nobody, 2), "no_progress_of_one_workload_s": round(somebody, 2)}
                    for kind, (times, nobody, somebody) in sorted(effects(outcome).items())},
        "workloads": {name: dict(counts(operations)) for name, operations in outcome.histories.items()},
        "verdicts": {verdict.name: verdict.word.lower() for verdict in outcome.verdicts},
        "folder": str(outcome.folder) if outcome.folder else None, "report": str(report) if report else None,
    })
