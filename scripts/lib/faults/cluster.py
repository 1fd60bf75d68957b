"""Real nodes, each a process that this one started: started, ended, paused, cut off, asked how they are."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from faults.wire import ask

START_SECONDS = 60
STOP_SECONDS = 30
# Small enough that a run of a minute flushes, compacts, purges its log and sends snapshots; what the run's own environment says
# comes first.
ENVIRONMENT = {
    "CAIRN_STORAGE_MEMTABLE_BYTES": str(1 << 20), "CAIRN_RAFT_LOG_BYTES": str(4 << 20), "CAIRN_RAFT_LOG_ENTRIES": "2000",
    "CAIRN_STORAGE_RESERVE_BYTES": str(32 << 20),
}


class Trouble(Exception):
    """Something does not go on: a node that does not start, a tool that fails, a group without a leader."""


# Loaded here, for a process that was just forked had better not.
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """In a new process: it ends when the one that started it does, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Node:
    """One process of the cluster and its folder."""

    def __init__(self, number, home, client, peer, http):
        self.number, self.home = number, home
        self.client, self.peer, self.http = client, peer, http
        self.process = None
        self.is_paused = False
        # A founder reads the cluster's file; a node that joins has all that it needs in its folder.
        self.config = None
        # What a fault wants the next start to have.
        self.environment, self.prefix = {}, []
        # Whether it may end by itself now without that being a fault of Cairn's.
        self.may_end = False
        # It has lost everything and is not started again.
        self.is_gone = False

    @property
    def data(self):
        return self.home / "data"

    @property
    def log(self):
        return self.home / "log"

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def answers(self):
        return self.is_running and not self.is_paused

    def last_lines(self, count):
        """The end of its log."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace").splitlines(keepends=True)[-count:]
        return []


class Cluster:
    """The nodes of a run. `wiring` decides where they listen and how the network between them is broken."""

    def __init__(self, root, binary, folder, size, wiring, environment=None):
        self.root, self.binary, self.folder, self.size, self.wiring = root, binary, folder, size, wiring
        self.environment = {**ENVIRONMENT, **os.environ, **(environment or {})}
        self.nodes, self.gone = {}, []
        self.unexpected = []  # (moment, node, how it ended)
        # The node whose disk goes wrong, if one does.
        self.unlucky = None
        # What faults want undone when all processes have ended.
        self.at_end = []

    # Its life.

    def start(self):
        self.wiring.set_up(self.size)
        for number in range(1, self.size + 1):
            self.add(number)
        self.write_configuration()
        for number in self.nodes:
            self.start_node(number, wait=False)
        for number in self.nodes:
            self.wait_until_listening(number)
        self.wait_for_leaders(60)

    def add(self, number):
        home = self.folder / f"node-{number}"
        home.mkdir(parents=True)
        self.nodes[number] = Node(number, home, *self.wiring.addresses(number))
        return self.nodes[number]

    def write_configuration(self):
        """The configuration of cluster-configs with this cluster's nodes."""
        source = (self.root / "cluster-configs/local-3/cluster.yaml").read_text()
        lines = "".join(f'    - "{n.number} client={n.client} peer={n.peer} http={n.http}"\n' for n in self.nodes.values())
        text = re.sub(r'(?:    - "\d+ client=.*\n)+', lambda _: lines, source)
        text = re.sub(r"^  name: .*", "  name: faults", text, flags=re.MULTILINE)
        path = self.folder / "cluster.yaml"
        path.write_text(text)
        for node in self.nodes.values():
            node.config = path

    def forget(self, number):
        """A node that belongs to the cluster no more, or never came to."""
        node = self.nodes.pop(number)
        if node.is_running:
            node.process.kill()
            node.process.wait()
        self.gone.append(node)

    def forget_mount(self, number):
        """Gives back the file system that a node had of its own."""
        if os.path.ismount(self.nodes[number].data):
            subprocess.run(["umount", str(self.nodes[number].data)], check=False)

    def remove(self):
        """Ends every process, and gives back whatever the run has taken."""
        for node in self.nodes.values():
            if node.is_running:
                node.process.kill()
        for node in self.nodes.values():
            if node.process:
                node.process.wait()
            self.forget_mount(node.number)
        for undo in self.at_end:
            undo()
        self.wiring.tear_down()

    # One node.

    def start_node(self, number, wait=True):
        node = self.nodes[number]
        if node.is_running or node.is_gone:
            return
        words = [*node.prefix, *self.wiring.prefix(number), str(self.binary), "serve", "--data", str(node.data)]
        words.append("--enable-test-commands")
        if node.config:
            words += ["--config", str(node.config), "--node", str(number)]
        with open(node.log, "a") as log:
            log.write(f"--- start at {time.strftime('%H:%M:%S')}\n")
            log.flush()
            node.process = subprocess.Popen(
                words, env={**self.environment, **node.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent)
        node.is_paused = False
        if wait:
            self.wait_until_listening(number)

    def wait_until_listening(self, number):
        node, deadline = self.nodes[number], time.monotonic() + START_SECONDS
        host, port = node.client.split(":")
        while time.monotonic() < deadline:
            if not node.is_running:
                if node.may_end:
                    return
                raise Trouble(f"node {number} ended at once: {''.join(node.last_lines(5))}")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.05)
        raise Trouble(f"node {number} does not answer on {node.client} after {START_SECONDS} s; its log is {node.log}")

    def kill(self, *numbers):
        """SIGKILL to all of them, and only then waits for any."""
        self.notice_ends()
        for number in numbers:
            if self.nodes[number].is_running:
                self.nodes[number].process.kill()
        for number in numbers:
            if self.nodes[number].process:
                self.nodes[number].process.wait()
                self.nodes[number].process = None

    def stop(self, number):
        """SIGTERM, which a node has half a minute to obey."""
        self.notice_ends()
        node = self.nodes[number]
        if not node.is_running:
            return
        self.resume(number)
        node.process.terminate()
        try:
            status = node.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.unexpected.append((time.monotonic(), number, f"was still there {STOP_SECONDS} s after SIGTERM"))
            node.process.kill()
            node.process.wait()
        else:
            if status not in (0, -signal.SIGTERM):
                self.unexpected.append((time.monotonic(), number, f"ended with status {status} when asked to stop"))
        node.process = None

    def pause(self, number):
        node = self.nodes[number]
        if node.is_running:
            node.process.send_signal(signal.SIGSTOP)
            node.is_paused = True

    def resume(self, number):
        node = self.nodes[number]
        if node.is_running and node.is_paused:
            node.process.send_signal(signal.SIGCONT)
        node.is_paused = False

    def notice_ends(self):
        """Remembers which processes have ended though nobody ended them."""
        for number, node in self.nodes.items():
            if node.process is not None and (status := node.process.poll()) is not None:
                node.process = None
                if not node.may_end:
                    how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                    self.unexpected.append((time.monotonic(), number, f"ended by itself {how}"))

    # The network.

    def cut(self, sources, targets, one_way=False):
        """Nothing gets from any of the sources to any of the targets any more; nor back, unless one way is meant."""
        for source in sources:
            for target in targets:
                if source != target:
                    self.wiring.cut(self, source, target)
                    if not one_way:
                        self.wiring.cut(self, target, source)

    def heal(self):
        self.wiring.heal(self)

    def mend(self):
        """Everything runs, nothing is cut."""
        for number in list(self.nodes):
            self.resume(number)
        self.notice_ends()
        for number in list(self.nodes):
            self.start_node(number, wait=False)
        for number, node in self.nodes.items():
            if not node.is_gone:
                self.wait_until_listening(number)
        self.heal()

    # What it says of itself.

    @property
    def numbers(self):
        return list(self.nodes)

    @property
    def uri(self):
        return f"mongodb://{','.join(node.client for node in self.nodes.values())}/"

    def status(self, number, seconds=1.0):
        """What a node says of itself; None if it says nothing."""
        node = self.nodes.get(number)
        if node is None or not node.answers:
            return None
        reply = ask(node.client, {"cairnStatus": 1}, seconds)
        return reply if reply and reply.get("ok") == 1 else None

    def statuses(self, seconds=1.0):
        return {number: status for number in self.numbers if (status := self.status(number, seconds))}

    @staticmethod
    def leaders_in(statuses):
        """Group -> the node that leads it by the highest term that anybody reports; None for a group without one."""
        found, terms = {}, {}
        for number, status in statuses.items():
            for replica in status["groups"]:
                group = replica["group"]
                found.setdefault(group, None)
                if replica["role"] == "leader" and replica["term"] >= terms.get(group, 0):
                    found[group], terms[group] = number, replica["term"]
        return found

    def leaders(self):
        return self.leaders_in(self.statuses())

    def busiest(self):
        """The node that leads the most groups; the lowest number if nobody leads any."""
        led = list(self.leaders().values())
        return max(self.numbers, key=lambda number: (led.count(number), -number))

    def wait_for_leaders(self, seconds):
        """Waits until every group is led. Returns the groups, or fails."""
        deadline, leaders = time.monotonic() + seconds, {}
        while time.monotonic() < deadline:
            leaders = self.leaders()
            if leaders and all(leaders.values()):
                return leaders
            time.sleep(0.1)
        without = [group for group, leader in leaders.items() if not leader]
        raise Trouble(f"after {seconds} s these groups have no leader: {without or 'all'}")

    def tool(self, *words, seconds=120):
        """Runs the executable's own tools; its exit code and what it printed."""
        try:
            done = subprocess.run([str(self.binary), *map(str, words)], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds, preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired:
            return None, f"no end within {seconds} s"
        return done.returncode, done.stdout

    def descriptors(self, number):
        """How many a node has open; None if it does not run."""
        node = self.nodes.get(number)
        with contextlib.suppress(OSError):
            return len(os.listdir(f"/proc/{node.process.pid}/fd")) if node and node.is_running else None
        return None

    def resident_bytes(self, number):
        """How much memory a node has; None if it does not run."""
        node = self.nodes.get(number)
        with contextlib.suppress(OSError):
            if node and node.is_running:
                text = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
                found = re.search(r"^VmRSS:\s*(\d+) kB", text, re.MULTILINE)
                return int(found[1]) * 1024 if found else None
        return None
