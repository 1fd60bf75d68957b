"""Compares what was acknowledged, and what failed for certain, with what is there."""

import bisect
import collections

from faults.checkers.verdict import judged
from faults.history import FAILED, OK


def set_verdicts(operations, final):
    """For histories of `insert` (argument: the values) and `read` (result: all values), each on a part of the set.

    An acknowledged value is in every read that began after that, and at the end. A value that failed for certain is in none. Once
    a read has shown a value, every read that begins later does: whatever the outcome was, it stays. Nothing else is ever there.
    """
    lost, forbidden, flickering, twice, read_count, checked = [], [], [], [], 0, 0
    parts = collections.defaultdict(list)
    for operation in operations:
        parts[operation.key].append(operation)
    for part, history in parts.items():
        inserts = {}
        reads = []
        for operation in history:
            if operation.name == "insert":
                for value in operation.argument:
                    inserts[value] = operation
            elif operation.outcome == OK:
                reads.append(operation)
        read_count += len(reads)
        shown = [(read.began, read.ended, collections.Counter(read.result), str(read)) for read in reads]
        at_the_end = collections.Counter((final or {}).get(part, []))
        shown.append((float("inf"), float("inf"), at_the_end, "the reading at the end"))
        for _, _, values, text in shown:
            twice += [f"{value} is {count} times in {text}" for value, count in values.items() if count > 1]
            forbidden += [f"{value} was never inserted, yet is in {text}" for value in values if value not in inserts]
        # Moment from which each value has to be seen: its acknowledgement, or the end of the first read that showed it.
        since = {value: insert.ended for value, insert in inserts.items() if insert.outcome == OK}
        acknowledged = set(since)
        for _, ended, values, _ in shown:
            for value in values:
                if ended < since.get(value, float("inf")):
                    since[value] = ended
        due = sorted((moment, value) for value, moment in since.items())
        moments = [moment for moment, _ in due]
        for began, _, values, text in shown:
            for _, value in due[: bisect.bisect_left(moments, began)]:
                checked += 1
                if value not in values:
                    (lost if value in acknowledged else flickering).append(f"{value} ({inserts.get(value)}) is not in {text}")
        for value, insert in inserts.items():
            if insert.outcome == FAILED:
                forbidden += [f"{value} ({insert}) is in {text}" for _, _, values, text in shown if value in values]
    forbidden += [f"{part} is a part that nobody has made" for part in (final or {}) if part not in parts]
    acknowledged = sum(len(o.argument) for o in operations if o.name == "insert" and o.outcome == OK)
    return [
        judged("acknowledged inserts are there", lost,
               f"{acknowledged} acknowledged, looked for in {read_count} reads and at the end", checked),
        judged("what failed is not there", forbidden + twice, "nothing that failed, nothing unknown, nothing twice", operations),
        judged("an unknown outcome is one for good", flickering, "what was seen once was seen from then on", operations),
    ]


def counter_verdict(operations, final):
    """At the end each counter is at least what was acknowledged, and at most that and what is unknown."""
    least, most = collections.Counter(), collections.Counter()
    for operation in operations:
        if operation.name == "add" and operation.outcome != FAILED:
            least[operation.key] += operation.outcome == OK
            most[operation.key] += 1
    problems = []
    for key in most.keys() | (final or {}).keys():
        value = (final or {}).get(key, 0)
        if not least[key] <= value <= most[key]:
            problems.append(f"counter {key} is {value}; {least[key]} additions were acknowledged, {most[key]} may have happened")
    return judged("counters add up", problems, f"{sum(least.values())} acknowledged additions on {len(most)} counters", most)
