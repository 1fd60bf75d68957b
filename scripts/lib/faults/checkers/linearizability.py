"""Finds out whether the operations on one document could have happened one after the other, each at some moment between its call
and its answer (Herlihy and Wing, "Linearizability", 1990).

The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried
("Testing for Linearizability", 2017): what is left depends only on the set of operations taken and on the state. An operation whose
outcome is unknown may be taken at any time after its call, or not at all.
"""

import dataclasses
import time

from faults.checkers.verdict import Verdict
from faults.history import FAILED, OK, UNKNOWN

# How many operations of a violation are shown.
SHOWN = 14


class Impossible(Exception):
    """The model says that an operation cannot have had this answer in this state."""


class Register:
    """A value, or None: `read`, `write`, and `cas` with [old, new]."""

    initial = None
    reads = {"read"}

    @staticmethod
    def step(state, operation):
        known = operation.outcome == OK
        if operation.name == "read":
            if known and operation.result != state:
                raise Impossible
            return state
        if operation.name == "write":
            return operation.argument
        old, new = operation.argument
        if known and operation.result != (state == old):
            raise Impossible
        return new if state == old else state


class Counter:
    """A number: `read`, and `add`, whose result is the number after it, or None if that was not asked."""

    initial = 0
    reads = {"read"}

    @staticmethod
    def step(state, operation):
        if operation.name == "read":
            if operation.outcome == OK and operation.result != state:
                raise Impossible
            return state
        if operation.outcome == OK and operation.result is not None and operation.result != state + 1:
            raise Impossible
        return state + 1


class AppendList:
    """A list: `read`, and `append` of a value."""

    initial = ()
    reads = {"read"}

    @staticmethod
    def step(state, operation):
        if operation.name == "read":
            if operation.outcome == OK and tuple(operation.result) != state:
                raise Impossible
            return state
        return (*state, operation.argument)


class OutOfTime(Exception):
    """The search was given up."""


def find_order(operations, model, deadline):
    """An order of the operations that explains every answer, as a list, or None if there is none.

    Depth first, over a list of calls and answers in which what has been taken is unlinked. It is done when every operation with
    an answer was taken.
    """
    count = len(operations)
    # Calls come before answers at the same moment, so that what touches counts as concurrent.
    events = sorted(
        [(operation.began, 0, index) for index, operation in enumerate(operations)]
        + [(operation.ended, 1, index) for index, operation in enumerate(operations) if operation.outcome == OK])
    # A doubly linked list of events; 0 is the head, event n is at n + 1.
    size = len(events) + 1
    after, before = [*range(1, size), None], [None, *range(size - 1)]
    calls, answers = [0] * count, [0] * count
    for place, (_, is_answer, index) in enumerate(events, start=1):
        (answers if is_answer else calls)[index] = place

    def unlink(place):
        before_it, after_it = before[place], after[place]
        after[before_it] = after_it
        if after_it is not None:
            before[after_it] = before_it

    def relink(place):
        before_it, after_it = before[place], after[place]
        after[before_it] = place
        if after_it is not None:
            before[after_it] = place

    left = sum(operation.outcome == OK for operation in operations)
    taken, state, order, tried = 0, model.initial, [], set()
    entry, steps = after[0], 0
    while left:
        steps += 1
        if steps % 2048 == 0 and time.monotonic() > deadline:
            raise OutOfTime
        if entry is not None and not events[entry - 1][1]:
            index = events[entry - 1][2]
            operation = operations[index]
            try:
                new = model.step(state, operation)
            except Impossible:
                entry = after[entry]
                continue
            mark = (taken | 1 << index, new)
            if mark in tried or (operation.outcome == UNKNOWN and new == state):
                entry = after[entry]
                continue
            tried.add(mark)
            order.append((index, state))
            taken, state = mark
            unlink(calls[index])
            if operation.outcome == OK:
                unlink(answers[index])
                left -= 1
            entry = after[0]
        else:
            # The answer of an operation that was not taken, or the end: something before has to be otherwise.
            if not order:
                return None
            index, state = order.pop()
            taken &= ~(1 << index)
            if operations[index].outcome == OK:
                relink(answers[index])
                left += 1
            relink(calls[index])
            entry = after[calls[index]]
    return [operations[index] for index, _ in order]


def of_interest(operations, model):
    """Without what did not happen, and without reads that got no answer."""
    return [o for o in operations if o.outcome != FAILED and not (o.outcome == UNKNOWN and o.name in model.reads)]


def is_linearizable(operations, model, deadline):
    """Whether there is an order; OutOfTime if that could not be found out."""
    operations = of_interest(operations, model)
    unknown = [o for o in operations if o.outcome == UNKNOWN]
    if len(unknown) > 3:
        # Most of them never happened or made no difference: often an order is found quickly without those nobody has seen.
        seen = set()
        for operation in operations:
            if operation.outcome == OK:
                for value in (operation.result, operation.argument):
                    seen.update(map(str, value) if isinstance(value, list) else [str(value)])
        quick = [o for o in operations if o.outcome == OK or (
            model is not Counter and str(o.argument[1] if isinstance(o.argument, list) else o.argument) in seen)]
        if len(quick) < len(operations):
            try:
                if find_order(quick, model, min(deadline, time.monotonic() + (deadline - time.monotonic()) / 3)) is not None:
                    return True
            except OutOfTime:
                pass
    return find_order(operations, model, deadline) is not None


def prefix(operations, moment):
    """The history as it was known right after the answers at a moment."""
    return [o if o.outcome != OK or o.ended <= moment else dataclasses.replace(o, outcome=UNKNOWN, result=None)
            for o in operations if o.began <= moment]


def shortest_violation(operations, model, deadline):
    """The shortest prefix without an order (found by halving: a prefix of what has an order has one), without the reads it can do
    without. Taking a read away never makes an order impossible."""
    operations = of_interest(operations, model)
    moments = sorted(o.ended for o in operations if o.outcome == OK)
    low, high = 0, len(moments) - 1
    while low < high:
        middle = (low + high) // 2
        if is_linearizable(prefix(operations, moments[middle]), model, deadline):
            low = middle + 1
        else:
            high = middle
    culprit = next(o for o in operations if o.outcome == OK and o.ended == moments[low])
    found = of_interest(prefix(operations, moments[low]), model)
    for read in [o for o in found if o.name in model.reads and o is not culprit]:
        without = [o for o in found if o is not read]
        if not is_linearizable(without, model, deadline):
            found = without
    before = [o for o in found if o is not culprit]
    try:
        order = find_order(before, model, deadline)
    except OutOfTime:
        order = None
    return culprit, found, order


def explain(key, operations, model, deadline):
    """A violation, as lines for people."""
    try:
        culprit, found, order = shortest_violation(operations, model, deadline)
    except OutOfTime:
        return [f"{key}: no order explains these {len(operations)} operations (no time to find the shortest part)"]
    lines = [f"{key}: no order of {len(found)} operations explains this answer: {culprit}"]
    if order:
        lines.append("what went before it has an order, which ends so:")
        state, steps = model.initial, []
        for operation in order:
            state = model.step(state, operation)
            steps.append(f"  {operation}   then it is {state!r}")
        lines += steps[-SHOWN:]
        unplaced = [o for o in found if o is not culprit and o not in order]
        if unplaced:
            lines.append("and these, whose outcome is unknown, may have happened or not:")
            lines += [f"  {operation}" for operation in unplaced[-SHOWN:]]
    else:
        lines += [f"  {operation}" for operation in found[-SHOWN:]]
    return lines


def linearizability_verdict(name, operations, model, budget):
    """Checks each key's history by itself, for no longer than `budget` seconds in all."""
    deadline = time.monotonic() + budget
    histories = {}
    for operation in operations:
        histories.setdefault(operation.key, []).append(operation)
    violations, undecided, checked = [], 0, 0
    # Short histories first: one that takes too long is not in the way of the others.
    for key, history in sorted(histories.items(), key=lambda item: len(item[1])):
        left = deadline - time.monotonic()
        if left <= 0:
            undecided += 1
            continue
        try:
            if not is_linearizable(history, model, time.monotonic() + max(left / 4, min(left, 1.0))):
                violations += explain(key, history, model, time.monotonic() + 10)
            checked += 1
        except OutOfTime:
            undecided += 1
    text = f"{sum(map(len, histories.values()))} operations on {len(histories)} documents"
    if violations:
        return Verdict(name, False, text, violations[:200])
    if undecided:
        return Verdict(name, None, f"{text}; no time for {undecided} of these", [])
    return Verdict(name, True if checked else None, text)
