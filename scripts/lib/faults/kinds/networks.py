"""Links between nodes that are cut, one way too, or come and go."""

import time

from faults.fault import Fault, registered, words
from faults.wiring import Namespaces


class Cut(Fault):
    """A fault that ends when the network is whole again."""

    def mend(self):
        self.cluster.heal()


@registered
class Halves(Cut):
    name = "halves"
    about = "a minority cut off from the majority"

    def inject(self):
        few = self.minority()
        self.cluster.cut(few, self.others(few))
        return f"{words(few)} from the others"


@registered
class IsolatedLeader(Cut):
    name = "isolated-leader"
    about = "the node that leads the most groups cut off from all others"

    def inject(self):
        leader = self.cluster.busiest()
        self.cluster.cut([leader], self.others([leader]))
        return f"node {leader} from the others"


@registered
class Frozen(Cut):
    name = "frozen"
    about = "the busiest leader is cut off and stands still (SIGSTOP), and goes on a while before the network does"
    seconds = (7.0, 9.0)

    def inject(self):
        self.victim = self.cluster.busiest()
        self.cluster.cut([self.victim], self.others([self.victim]))
        self.cluster.pause(self.victim)
        self.until, self.is_succeeded = time.monotonic() + 5.0, False
        return f"node {self.victim}"

    def tick(self):
        # A while after others have taken over what it led; groups that nobody uses stay without a leader.
        if not self.is_succeeded and all(self.cluster.leaders().values()):
            self.is_succeeded = True
            self.until = min(self.until, time.monotonic() + self.random.uniform(1.0, 2.0))
        if time.monotonic() >= self.until:
            self.cluster.resume(self.victim)

    def mend(self):
        self.cluster.resume(self.victim)
        super().mend()


@registered
class Deaf(Cut):
    name = "deaf"
    about = "one way: the busiest leader or another node hears nobody, and is heard"

    def inject(self):
        victim = self.cluster.busiest() if self.random.random() < 0.5 else self.any_node()
        self.cluster.cut(self.others([victim]), [victim], one_way=True)
        return f"node {victim} hears nobody"


@registered
class Mute(Cut):
    name = "mute"
    about = "one way: the busiest leader or another node hears everybody, and is not heard"

    def inject(self):
        victim = self.cluster.busiest() if self.random.random() < 0.5 else self.any_node()
        self.cluster.cut([victim], self.others([victim]), one_way=True)
        return f"nobody hears node {victim}"


@registered
class Ring(Cut):
    name = "ring"
    about = "each node reaches its two neighbours in a ring and nobody else"
    least_nodes = 5

    def inject(self):
        ring = list(self.cluster.numbers)
        self.random.shuffle(ring)
        for place, number in enumerate(ring):
            neighbours = (ring[place - 1], ring[(place + 1) % len(ring)])
            self.cluster.cut([number], [other for other in ring if other not in (number, *neighbours)], one_way=True)
        return "-".join(map(str, ring))


@registered
class Bridge(Cut):
    name = "bridge"
    about = "two sides that share one node and see nothing else of each other"

    def inject(self):
        order = list(self.cluster.numbers)
        self.random.shuffle(order)
        bridge, rest = order[0], order[1:]
        left, right = rest[: len(rest) // 2], rest[len(rest) // 2:]
        self.cluster.cut(left, right)
        return f"{words(left)} and {words(right)} share node {bridge}"


@registered
class Flapping(Cut):
    name = "flapping"
    about = "a node's links are cut and mended every second or so"
    seconds = (8.0, 15.0)

    def inject(self):
        self.victim, self.is_cut, self.next = self.any_node(), False, 0.0
        self.tick()
        return f"node {self.victim}"

    def tick(self):
        if time.monotonic() < self.next:
            return
        if self.is_cut:
            self.cluster.heal()
        else:
            self.cluster.cut([self.victim], self.others([self.victim]))
        self.is_cut = not self.is_cut
        self.next = time.monotonic() + self.random.uniform(0.2, 2.0)


@registered
class SlowLink(Cut):
    name = "slow-link"
    about = "the links of one node, often the busiest leader, through relays that delay and throttle them"
    seconds = (6.0, 15.0)

    @classmethod
    def missing(cls, nodes):
        return super().missing(nodes) or (None if Namespaces.are_possible() else "needs root and network namespaces")

    def inject(self):
        victim = self.cluster.busiest() if self.random.random() < 0.5 else self.any_node()
        delay = self.random.choice((0.02, 0.1, 0.4))
        rate = self.random.choice((None, 4_000_000, 250_000))
        for other in self.others([victim]):
            self.cluster.wiring.detour(victim, other, delay, rate)
            self.cluster.wiring.detour(other, victim, delay, rate)
        pace = f", {rate // 1000} kB/s" if rate else ""
        return f"node {victim}: {delay * 1000:.0f} ms later each way{pace}"
