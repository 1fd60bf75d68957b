"""Processes that die, stand still, and come back."""

import time

from faults.fault import Fault, registered, words


@registered
class SigKill(Fault):
    name = "sigkill"
    about = "SIGKILL of as many nodes as the cluster can do without, the busiest leader among them every other time"

    def inject(self):
        victims = [self.cluster.busiest()] if self.random.random() < 0.5 else self.minority()
        self.cluster.kill(*victims)
        return words(victims)


@registered
class KillAll(Fault):
    name = "kill-all"
    about = "SIGKILL of all nodes at once; they start again together"
    seconds = (1.0, 2.0)

    def inject(self):
        self.cluster.kill(*self.cluster.numbers)
        return "all nodes"


@registered
class Pause(Fault):
    name = "pause"
    about = "SIGSTOP of a minority, the busiest leader every other time"
    seconds = (2.0, 10.0)

    def inject(self):
        victims = [self.cluster.busiest()] if self.random.random() < 0.5 else self.minority()
        for number in victims:
            self.cluster.pause(number)
        return words(victims)

    def mend(self):
        for number in self.cluster.numbers:
            self.cluster.resume(number)


@registered
class LongPause(Pause):
    name = "long-pause"
    about = "SIGSTOP of a minority for half a minute to two minutes"
    seconds = (30.0, 120.0)


@registered
class Stutter(Fault):
    name = "stutter"
    about = "SIGSTOP and SIGCONT of changing nodes, each for about an election timeout"
    seconds = (6.0, 12.0)

    def inject(self):
        self.paused = None
        self.tick()
        return "changing nodes"

    def tick(self):
        if self.paused is None:
            self.paused = self.any_node()
            self.until = time.monotonic() + self.random.uniform(0.3, 2.5)
            self.cluster.pause(self.paused)
        elif time.monotonic() > self.until:
            self.mend()

    def mend(self):
        if self.paused is not None:
            self.cluster.resume(self.paused)
            self.paused = None


@registered
class RestartStorm(Fault):
    name = "restart-storm"
    about = "nodes are killed and started again and again, one at a time, without waiting until one is well again"
    seconds = (8.0, 15.0)

    def inject(self):
        self.next = 0.0
        self.count = 0
        self.tick()
        return "changing nodes"

    def tick(self):
        if time.monotonic() < self.next:
            return
        victim = self.any_node()
        self.cluster.kill(victim)
        self.cluster.start_node(victim)
        self.next = time.monotonic() + self.random.uniform(0.2, 2.0)


@registered
class RollingRestart(Fault):
    name = "rolling-restart"
    about = "every node in turn is shut down cleanly and started again, as soon as all groups are led"
    seconds = (10.0, 20.0)

    def inject(self):
        self.left = list(self.cluster.numbers)
        self.random.shuffle(self.left)
        return words(self.left)

    def tick(self):
        leaders = self.cluster.leaders()
        if self.left and leaders and all(leaders.values()):
            victim = self.left.pop()
            self.cluster.stop(victim)
            self.cluster.start_node(victim)

    def mend(self):
        while self.left:
            self.cluster.wait_for_leaders(30)
            self.tick()
