"""Three-node clusters of Cairn, etcd and PostgreSQL on this machine: how each is started, loaded, watched and ended."""

import dataclasses
import json
import os
import pathlib
import pwd
import random
import re
import socket
import struct
import subprocess
import time
import urllib.request

VALUE_BYTES = 1024
# Debian keeps each major version in a folder of its own.
POSTGRES_BIN = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


def free_ports(count):
    """A run of free ports, below those that outgoing connections get."""
    while True:
        base = random.randrange(20000, 31000)
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue


def wait_for(what, seconds, check):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not happen within {seconds} s")


@dataclasses.dataclass
class Measurement:
    """What one load came to: operations a second, and milliseconds where the load tells them."""

    rate: float
    operations: int = 0
    p50: float | None = None
    p99: float | None = None


def cpu_seconds(pids):
    """Processor time that the processes have taken so far, all threads, user and kernel."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def bytes_written(pids):
    """Bytes that the processes have sent to the disk so far."""
    return sum(int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[1])
               for pid in pids)


def settled_bytes_written(pids, quiet=3, seconds=120):
    """The same once nothing was written for `quiet` seconds, or `seconds` are over."""
    end = time.monotonic() + seconds
    last, since = bytes_written(pids), time.monotonic()
    while time.monotonic() < min(end, since + quiet):
        time.sleep(0.25)
        # Heartbeats and the like go on for ever.
        if (now := bytes_written(pids)) > last + 65536:
            last, since = now, time.monotonic()
    return bytes_written(pids)


def ask_node(address, name):
    """Sends a command that is no more than its name to a node and returns the reply's bytes."""
    host, port = address
    body = b"\x10" + name.encode() + b"\0\1\0\0\0\x02$db\0\x06\0\0\0admin\0\0"
    body = struct.pack("<i", 4 + len(body)) + body
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(struct.pack("<iiiiI", 21 + len(body), 1, 0, 2013, 0) + b"\0" + body)
        reply = b""
        while len(reply) < 4 or len(reply) < struct.unpack("<i", reply[:4])[0]:
            piece = connection.recv(65536)
            if not piece:
                raise RuntimeError(f"the node at {host}:{port} closed the connection")
            reply += piece
    return reply[21:]


class Cairn:
    """Three nodes as scripts/cluster starts them, measured by cairn bench."""

    name = "cairn"
    workloads = ("insert", "update", "read", "insertMany")

    def __init__(self, root, folder):
        self.root, self.binary = root, os.environ["CAIRN_BINARY"]
        self.port = free_ports(1103)
        self.folder = folder / "cairn"
        self.environment = {**os.environ, "CAIRN_DIR": str(self.folder), "CAIRN_BASE_PORT": str(self.port)}

    def start(self):
        subprocess.run([self.root / "scripts/cluster", "up"], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([self.root / "scripts/cluster", "wipe"], env=self.environment, check=False)

    @property
    def pids(self):
        return [int((self.folder / f"node-{n}/pid").read_text()) for n in (1, 2, 3)]

    def flush(self):
        """Has the nodes write to tables what they hold in memory."""
        for n in range(3):
            ask_node(("127.0.0.1", self.port + n), "fsync")

    def measure(self, workload, clients, seconds, connections=None, keep=False):
        """
        connections: how many the clients share; one each by default.
        keep: leaves the collection as it is before and after, so that what was written goes the way of all data.
        """
        connections = connections or clients
        done = subprocess.run(
            [self.binary, "bench", workload, "--address", f"127.0.0.1:{self.port}", "--connections", str(connections),
             "--per-connection", str(clients // connections), "--seconds", str(seconds), "--json",
             *(["--keep"] if keep else [])],
            check=True, text=True, stdout=subprocess.PIPE)
        row = json.loads(done.stdout.splitlines()[-1])["rows"][0]
        if row["errors"]:
            raise RuntimeError(f"cairn bench: {row['errors']} errors")
        return Measurement(row["ours"], row["documents"], row["p50"], row["p99"])


class Etcd:
    """Three members; h2load speaks gRPC to the leader: puts of 1 KiB, ranges of one key.

    h2load sends one body, so all puts are of one key. To etcd that makes little difference: its store is keyed by
    revision, and each put is a new one, kept beside those before it.
    """

    name = "etcd"
    workloads = ("insert", "update", "read")

    def __init__(self, _, folder):
        self.folder = folder / "etcd"
        self.port = free_ports(6)
        self.processes = []

    def start(self):
        self.folder.mkdir()
        cluster = ",".join(f"n{n}=http://127.0.0.1:{self.port + 3 + n}" for n in range(3))
        for n in range(3):
            client, peer = (f"http://127.0.0.1:{self.port + offset + n}" for offset in (0, 3))
            log = open(self.folder / f"log{n}", "w")
            self.processes.append(subprocess.Popen(
                ["etcd", "--name", f"n{n}", "--data-dir", self.folder / f"n{n}", "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", cluster, "--quota-backend-bytes", str(8 << 30)],
                stdout=log, stderr=log))
        wait_for("an etcd leader", 60, lambda: self.leader() is not None)
        self.write_bodies()

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)

    def leader(self):
        """The client port of the member that leads."""
        for n in range(3):
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{self.port + n}/v3/maintenance/status", data=b"{}", method="POST")
                status = json.load(urllib.request.urlopen(request, timeout=2))
                if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                    return self.port + n
            except OSError:
                pass
        return None

    def write_bodies(self):
        """gRPC frames of etcdserverpb.PutRequest{key, value} and RangeRequest{key}."""
        key = b"stones/0001"
        put = b"\x0a" + bytes([len(key)]) + key + b"\x12\x80\x08" + bytes(random.randrange(33, 127) for _ in range(VALUE_BYTES))
        get = b"\x0a" + bytes([len(key)]) + key
        for name, message in (("insert", put), ("read", get)):
            (self.folder / name).write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)

    def revision(self):
        """How many puts the members have agreed on."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.leader()}/v3/kv/range", data=b'{"key": "AA=="}', method="POST")
        return int(json.load(urllib.request.urlopen(request, timeout=5))["header"]["revision"])

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def flush(self):
        """Nothing waits in memory for long: etcd commits to its store ten times a second."""

    def measure(self, workload, clients, seconds, connections=None):
        """
        connections: how many the clients share; one each by default.
        """
        connections = connections or clients
        times = self.folder / "times"
        times.unlink(missing_ok=True)
        method, body = ("Range", "read") if workload == "read" else ("Put", "insert")
        before = self.revision()
        done = subprocess.run(
            ["h2load", "-c", str(connections), "-m", str(clients // connections), "-D", str(seconds), "-d", str(self.folder / body),
             f"--log-file={times}", "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://127.0.0.1:{self.leader()}/etcdserverpb.KV/{method}"],
            check=True, text=True, stdout=subprocess.PIPE)
        rate = float(re.search(r"finished in [\d.]+s, ([\d.]+) req/s", done.stdout)[1])
        # A line for each request: when it began, the status, and the microseconds that it took.
        took = sorted(int(line.split("\t")[2]) / 1000 for line in times.read_text().splitlines())
        # A put that etcd refuses is a reply to h2load like any other.
        if method == "Put" and self.revision() - before < 0.95 * rate * seconds:
            raise RuntimeError(f"etcd took {self.revision() - before} puts of {rate * seconds:.0f}")
        return Measurement(rate, len(took), took[len(took) // 2], took[len(took) * 99 // 100])


class PostgreSQL:
    """A primary and two standbys of which one must have each commit on its disk; pgbench with prepared statements."""

    name = "postgresql"
    workloads = ("insert", "update", "read")
    rows = 10_000

    def __init__(self, _, folder):
        self.folder = folder / "postgresql"
        self.port = free_ports(3)
        self.started = []
        # PostgreSQL refuses to run as root.
        self.become = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

    def run(self, program, *words, **options):
        return subprocess.run(
            [*self.become, POSTGRES_BIN / program, *map(str, words)], check=True, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=self.folder, **options).stdout

    def sql(self, text):
        return self.run("psql", "-h", self.folder, "-p", self.port, "-U", "cairn", "-d", "postgres", "-Atc", text)

    def start(self):
        self.folder.mkdir()
        if os.getuid() == 0:
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        self.run("initdb", "-D", self.folder / "n0", "-U", "cairn", "-A", "trust", "--no-sync")
        with open(self.folder / "n0/postgresql.conf", "a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\nmax_connections = 200\n"
                "shared_buffers = 256MB\nmax_wal_size = 8GB\nwal_keep_size = 1GB\nhot_standby = on\n")
        self.begin(0)
        for n in (1, 2):
            self.run("pg_basebackup", "-D", self.folder / f"n{n}", "-h", "127.0.0.1", "-p", self.port, "-U", "cairn",
                     "-R", "-d", f"application_name=n{n}", "--no-sync", "-c", "fast")
            self.begin(n)
        self.sql("alter system set synchronous_standby_names = 'ANY 1 (n1, n2)'")
        self.sql("select pg_reload_conf()")
        wait_for("streaming to two standbys", 60,
                 lambda: self.sql("select count(*) from pg_stat_replication where sync_state = 'quorum'").strip() == "2")
        fields = [f"field{n}" for n in range(10)]
        words = "'" + "stone hill cairn mark route level pile way north granite slate bed "[:98] + "'"
        self.sql("create sequence stone_ids")
        self.sql(f"create table stones (id bigint primary key, {', '.join(f'{name} text' for name in fields)})")
        self.sql(f"insert into stones select nextval('stone_ids'), {', '.join([words] * 10)} from generate_series(1, {self.rows})")
        self.sql("vacuum analyze stones")
        pick = f"\\set id random(1, {self.rows})\n"
        scripts = {
            "insert": f"insert into stones values (nextval('stone_ids'), {', '.join([words] * 10)});\n",
            "update": pick + f"update stones set field3 = {words} where id = :id;\n",
            "read": pick + "select * from stones where id = :id;\n",
        }
        for name, text in scripts.items():
            (self.folder / f"{name}.sql").write_text(text)

    def control(self, n, *words, check=True):
        # Not through a pipe: the server would inherit it and keep it open.
        subprocess.run(
            [*self.become, POSTGRES_BIN / "pg_ctl", "-D", self.folder / f"n{n}", "-l", self.folder / f"log{n}", *words],
            check=check, stdout=subprocess.DEVNULL, cwd=self.folder)

    def begin(self, n):
        self.control(n, "-w", "-o", f"-p {self.port + n}", "start")
        self.started.append(n)

    def stop(self):
        for n in reversed(self.started):
            self.control(n, "-m", "immediate", "stop", check=False)

    def measure(self, workload, connections, seconds):
        printed = self.run(
            "pgbench", "-h", "127.0.0.1", "-p", self.port, "-U", "cairn", "-n", "-M", "prepared", "-c", connections, "-j",
            min(connections, 2), "-T", seconds, "-f", self.folder / f"{workload}.sql", "postgres")
        return Measurement(float(re.search(r"tps = ([\d.]+) \(without initial connection time\)", printed)[1]))
