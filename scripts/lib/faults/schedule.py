"""What happens when, drawn from a seed."""

import dataclasses
import random

WARM_UP_SECONDS = 3.0
REST_SECONDS = (1.5, 4.0)


@dataclasses.dataclass
class Episode:
    """One fault: when it begins after the start of the workloads, and for how long it is in force."""

    begins: float
    seconds: float
    fault: str
    seed: int


def draw(names, seed, seconds, each_once=False):
    """Faults one after another, with rests in between, until `seconds` are over; at least one. With `each_once` every name has its
    turn, however long that takes."""
    source = random.Random(seed)
    episodes, moment, left = [], WARM_UP_SECONDS, list(names)
    while True:
        if each_once:
            if not left:
                return episodes
            fault = left.pop(0)
        else:
            if episodes and moment > seconds:
                return episodes
            fault = source.choice(names)
        length = source.random()
        episodes.append(Episode(moment, length, fault.name, source.getrandbits(32)))
        low, high = fault.seconds
        episodes[-1].seconds = low + (high - low) * length
        if not each_once:
            # One that would go on for long after the end is cut short, but not below its least length.
            episodes[-1].seconds = max(low, min(episodes[-1].seconds, seconds - moment))
        moment += episodes[-1].seconds + source.uniform(*REST_SECONDS)
