"""What a fault is, and the list of them all."""

import os

REGISTRY = {}


def registered(kind):
    """Enters a kind of fault under its name."""
    assert kind.name not in REGISTRY, kind.name
    REGISTRY[kind.name] = kind
    return kind


class Fault:
    """One thing that goes wrong, from `inject` until `mend`.

    An object is made for each time. What it draws comes from `random`, which the schedule's seed decides, and from who leads
    at that moment, which nothing does. In between, `tick` is called some times a second.
    """

    name = ""
    about = ""
    # Fewer nodes than this and it cannot be had.
    least_nodes = 3
    needs_root = False
    # How long it is in force, in seconds: a range to draw from.
    seconds = (3.0, 8.0)

    def __init__(self, cluster, random):
        self.cluster, self.random = cluster, random

    @classmethod
    def missing(cls, nodes):
        """Why it cannot be had here, or None."""
        if nodes < cls.least_nodes:
            return f"needs {cls.least_nodes} nodes"
        if cls.needs_root and os.geteuid() != 0:
            return "needs root"
        return None

    def inject(self):
        """Makes it so; returns a few words about what was done to whom."""
        raise NotImplementedError

    def tick(self):
        """Goes on, for faults that are not one deed."""

    def mend(self):
        """Undoes it. Whatever it leaves (nodes that are down, links that are cut) is mended after it for every fault."""

    # What many of them draw.

    def any_node(self):
        return self.random.choice(self.cluster.numbers)

    def minority(self):
        """As many nodes as the cluster can do without."""
        count = self.random.randint(1, (len(self.cluster.numbers) - 1) // 2)
        return sorted(self.random.sample(self.cluster.numbers, count))

    def others(self, numbers):
        return [number for number in self.cluster.numbers if number not in numbers]


def words(numbers):
    """Nodes, as a text."""
    return ("node " if len(numbers) == 1 else "nodes ") + ", ".join(map(str, numbers))
