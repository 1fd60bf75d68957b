"""Where the nodes listen, and how the network between them is cut."""

import contextlib
import functools
import os
import random
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

from faults.relay import Relay


class Loopback:
    """All nodes on 127.0.0.1, cut off by the test commands that scripts/cluster uses too."""

    name = "loopback"
    offsets = (0, 100, 1000)

    def set_up(self, size):
        # Some more than there are nodes: others may join.
        self.base = self.free_base(size + 10)

    def tear_down(self):
        pass

    @classmethod
    def free_base(cls, count):
        """A base of free ports, below those that outgoing connections get."""
        for _ in range(200):
            base = random.SystemRandom().randrange(20000, 31000)
            try:
                for offset in (start + number for start in cls.offsets for number in range(count)):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("127.0.0.1", base + offset))
                return base
            except OSError:
                continue
        raise RuntimeError("no free ports")

    def addresses(self, number):
        """The addresses for clients, peers and HTTP."""
        return tuple(f"127.0.0.1:{self.base + offset + number - 1}" for offset in self.offsets)

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


class Namespaces:
    """Every node in a network namespace of its own, on a bridge that this machine is on too; links are cut by nftables.

    What belongs to a run bears the run's process in its name, so that the next run can remove what one that was killed has left.
    """

    name = "network namespaces"
    ports = (27017, 27117, 28017)

    def __init__(self):
        self.run = os.getpid()
        self.bridge = f"cfb{self.run}"
        self.made, self.subnet, self.relays = [], None, {}

    def set_up(self, size):
        self.remove_leftovers()
        taken = run("ip", "-o", "-4", "address").stdout
        nets = (f"10.{random.SystemRandom().randrange(200, 250)}.{n}" for n in range(1, 250))
        self.subnet = next(net for net in nets if f" {net}." not in taken)
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.subnet}.254/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def tear_down(self):
        for relay in self.relays.values():
            relay.close()
        self.relays.clear()
        for number in self.made:
            run("ip", "netns", "del", self.namespace(number), check=False)
        self.made.clear()
        if self.subnet:
            run("ip", "link", "del", self.bridge, check=False)

    @staticmethod
    @functools.cache
    def are_possible():
        """Whether this process may make namespaces and filter in them: root may, unless a container holds it."""
        if os.geteuid() != 0 or not shutil.which("nft"):
            return False
        space = f"cairn-faults-{os.getpid()}-0"
        try:
            run("ip", "netns", "add", space)
            run("ip", "netns", "exec", space, "nft", "add table ip faults")
            return True
        except (OSError, RuntimeError):
            return False
        finally:
            with contextlib.suppress(OSError):
                run("ip", "netns", "del", space, check=False)

    @staticmethod
    def remove_leftovers():
        """Removes what runs that are no more have left behind."""
        for line in run("ip", "netns", "list").stdout.splitlines():
            found = re.match(r"cairn-faults-(\d+)-\d+", line)
            if found and not os.path.exists(f"/proc/{found[1]}"):
                run("ip", "netns", "del", found[0], check=False)
        for found in re.finditer(r"^\d+: cfb(\d+):", run("ip", "-o", "link").stdout, re.MULTILINE):
            if not os.path.exists(f"/proc/{found[1]}"):
                run("ip", "link", "del", f"cfb{found[1]}", check=False)

    def namespace(self, number):
        return f"cairn-faults-{self.run}-{number}"

    def host(self, number):
        return f"{self.subnet}.{number}"

    def addresses(self, number):
        """The addresses for clients, peers and HTTP; makes the namespace if there is none."""
        if number not in self.made:
            space, link = self.namespace(number), f"cf{self.run}n{number}"
            run("ip", "netns", "add", space)
            self.made.append(number)
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", link, "master", self.bridge, "up")
            run("ip", "-n", space, "address", "add", f"{self.host(number)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                run("ip", "-n", space, "link", "set", device, "up")
            self.filter(number, "add table ip faults; add chain ip faults cut { type filter hook output priority 0; }; "
                                "add chain ip faults detour { type nat hook output priority -100; }")
        return tuple(f"{self.host(number)}:{port}" for port in self.ports)

    def prefix(self, number):
        return ["ip", "netns", "exec", self.namespace(number)]

    def filter(self, number, rules):
        run("ip", "netns", "exec", self.namespace(number), "nft", rules)

    def cut(self, cluster, source, target):
        """Nothing leaves the source for the target any more, whether or not the processes run."""
        self.filter(source, f"add rule ip faults cut ip daddr {self.host(target)} drop")

    def detour(self, source, target, delay, bytes_per_second):
        """Leads the source's connections to the target's peer port through a relay, and resets those that do not go there."""
        host, port = self.host(target), self.ports[1]
        relay = self.relays[source, target] = Relay(f"{self.subnet}.254", (host, port), delay, bytes_per_second)
        self.filter(source, f"add rule ip faults detour ip daddr {host} tcp dport {port} dnat to {self.subnet}.254:{relay.port}; "
                            f"add rule ip faults cut ip daddr {host} tcp dport {port} reject with tcp reset")

    def heal(self, cluster):
        for number in self.made:
            self.filter(number, "flush chain ip faults cut; flush chain ip faults detour")
        for relay in self.relays.values():
            relay.close()
        self.relays.clear()


def run(*words, check=True):
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout.strip()}")
    return done
