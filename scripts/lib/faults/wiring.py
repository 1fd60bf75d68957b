"""Where the nodes listen, and how the network between them is cut."""

import random
import socket
import urllib.error
import urllib.request


class Loopback:
    """All nodes on 127.0.0.1, cut off by the test commands that scripts/cluster uses too."""

    name = "loopback"

    def set_up(self, size):
        self.base = self.free_base(size + 3)

    def tear_down(self):
        pass

    @staticmethod
    def free_base(count):
        """A base of free ports, below those that outgoing connections get."""
        for _ in range(200):
            base = random.SystemRandom().randrange(20000, 31000)
            try:
                for offset in (*range(count), *range(100, 100 + count), *range(1000, 1000 + count)):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("127.0.0.1", base + offset))
                return base
            except OSError:
                continue
        raise RuntimeError("no free ports")

    def addresses(self, number):
        """The addresses for clients, peers and HTTP."""
        return tuple(f"127.0.0.1:{self.base + offset + number - 1}" for offset in (0, 100, 1000))

    def prefix(self, number):
        """What comes before the command that starts a node."""
        return []

    def cut(self, cluster, source, target):
        """Each end drops what it can: one that is down or paused now is deaf by the other's doing."""
        self.post(cluster.nodes[source], f"/test/partition?outgoing={target}")
        self.post(cluster.nodes[target], f"/test/partition?incoming={source}")

    def heal(self, cluster):
        for node in cluster.nodes.values():
            for _ in range(10):
                if self.post(node, "/test/heal"):
                    break

    @staticmethod
    def post(node, path):
        """Whether the node did as it was told; one that is down has nothing cut."""
        if not node.answers:
            return True
        try:
            urllib.request.urlopen(urllib.request.Request(f"http://{node.http}{path}", method="POST"), timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            return not node.is_running
