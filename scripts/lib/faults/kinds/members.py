"""Nodes that join, leave, lose everything and are replaced; indexes that are built. Each while nodes die."""

import shutil

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from faults.cluster import Trouble
from faults.fault import Fault, registered
from faults.workload import DATABASE

MOVE_SECONDS = 120


def join(cluster):
    """Starts a new node that the cluster has given a number, and returns that."""
    number = max([*cluster.numbers, *(node.number for node in cluster.gone)]) + 1
    node = cluster.add(number)
    known = next(other.client for other in cluster.nodes.values() if other.answers)
    addresses = ("--client", node.client, "--peer", node.peer, "--http", node.http)
    code, printed = cluster.tool("node", "add", "--data", node.data, *addresses, known)
    if code != 0 or f"node {number} " not in printed:
        cluster.forget(number)
        raise Trouble(f"no node could be added: {printed}")
    cluster.start_node(number)
    return number


def empty(cluster, number, *words):
    """Moves everything away from a node with the tools, then removes it from the cluster, and ends it."""
    address = next(other.client for other in cluster.nodes.values() if other.answers and other.number != number)
    for command in (words, ("remove", number)):
        code, printed = cluster.tool("node", *command, address, seconds=MOVE_SECONDS)
        if code != 0:
            raise Trouble(f"cairn node {' '.join(map(str, command))}: {printed}")
    cluster.kill(number)
    cluster.forget(number)


@registered
class Wipe(Fault):
    name = "wipe"
    about = "one node's whole folder is gone for good; a new node takes its place"
    seconds = (2.0, 4.0)

    def inject(self):
        # One whose disk went wrong before is the one that the cluster can best do without.
        self.victim = self.cluster.unlucky if self.cluster.unlucky in self.cluster.nodes else self.any_node()
        self.cluster.kill(self.victim)
        self.cluster.forget_mount(self.victim)
        shutil.rmtree(self.cluster.nodes[self.victim].data)
        # It would be turned away under its number.
        self.cluster.nodes[self.victim].is_gone = True
        return f"node {self.victim}"

    def mend(self):
        new = join(self.cluster)
        empty(self.cluster, self.victim, "replace", self.victim, new)


@registered
class JoinAndLeave(Fault):
    name = "join-and-leave"
    about = "a node joins, another is killed meanwhile, and the new one is drained and removed again"
    seconds = (6.0, 12.0)

    def inject(self):
        victim = self.any_node()
        self.new = join(self.cluster)
        self.cluster.kill(victim)
        return f"node {self.new} joins, node {victim} is killed"

    def mend(self):
        self.cluster.mend()
        self.cluster.wait_for_leaders(30)
        empty(self.cluster, self.new, "drain", self.new)


@registered
class Drain(Fault):
    name = "drain"
    about = "a node is drained, another killed meanwhile, and the first gets its replicas back"
    least_nodes = 5
    seconds = (4.0, 10.0)

    def inject(self):
        self.victim, killed = self.random.sample(self.cluster.numbers, 2)
        self.cluster.tool("node", "drain", "--wait", 0, self.victim, self.cluster.nodes[self.victim].client)
        self.cluster.kill(killed)
        return f"node {self.victim} is drained, node {killed} is killed"

    def mend(self):
        self.cluster.mend()
        self.cluster.wait_for_leaders(30)
        code, printed = self.cluster.tool("node", "activate", self.victim, self.cluster.nodes[self.victim].client)
        if code != 0:
            raise Trouble(f"cairn node activate {self.victim}: {printed}")


@registered
class IndexBuild(Fault):
    name = "index-build"
    about = "an index is built over a collection that is written, while the busiest node is killed"
    seconds = (3.0, 6.0)
    index = "part_1_text_1"

    def inject(self):
        victim = self.cluster.busiest()
        self.command("createIndexes", indexes=[{"name": self.index, "key": {"part": 1, "text": 1}}])
        self.cluster.kill(victim)
        return f"node {victim} is killed"

    def command(self, name, **fields):
        """Sent and not waited for: what comes of it shows at the end."""
        with MongoClient(self.cluster.uri, serverSelectionTimeoutMS=4000, socketTimeoutMS=300) as client:
            try:
                client[DATABASE].command(name, "set", **fields)
            except PyMongoError:
                pass

    def mend(self):
        self.cluster.mend()
        self.cluster.wait_for_leaders(30)
        # Now and then it stays, and has to be right at the end.
        if self.random.random() < 0.5:
            self.command("dropIndexes", index=self.index)
