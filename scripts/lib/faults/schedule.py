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


def draw(kinds, seed, seconds, each_once=False):
    """Faults one after another, with rests in between, until `seconds` are over; at least one.

    With `each_once` every kind has its turn, in order, again and again until the time is over, and once in any case.
    """
    source = random.Random(seed)
    episodes, moment = [], WARM_UP_SECONDS
    least = len(kinds) if each_once else 1
    while len(episodes) < least or moment < seconds:
        kind = kinds[len(episodes) % len(kinds)] if each_once else source.choice(kinds)
        low, high = kind.seconds
        # One that would go on for long after the end is cut short, but not below its least length.
        length = max(low, min(source.uniform(low, high), seconds - moment))
        episodes.append(Episode(moment, length, kind.name, source.getrandbits(32)))
        moment += length + source.uniform(*REST_SECONDS)
    return episodes
