"""Loads three-node clusters of Cairn, etcd and PostgreSQL in turn and prints medians and ratios (see scripts/compare)."""

import argparse
import contextlib
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
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


class Cairn:
    """Three nodes as scripts/cluster starts them, measured by cairn bench."""

    name = "cairn"
    workloads = ("insert", "update", "read", "insertMany")

    def __init__(self, root, folder):
        self.root, self.binary = root, os.environ["CAIRN_BINARY"]
        self.port = free_ports(1103)
        self.environment = {**os.environ, "CAIRN_DIR": str(folder / "cairn"), "CAIRN_BASE_PORT": str(self.port)}

    def start(self):
        subprocess.run([self.root / "scripts/cluster", "up"], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([self.root / "scripts/cluster", "wipe"], env=self.environment, check=False)

    def measure(self, workload, connections, seconds):
        done = subprocess.run(
            [self.binary, "bench", workload, "--address", f"127.0.0.1:{self.port}", "--connections", str(connections),
             "--seconds", str(seconds), "--json"],
            check=True, text=True, stdout=subprocess.PIPE)
        row = json.loads(done.stdout.splitlines()[-1])["rows"][0]
        if row["errors"]:
            raise RuntimeError(f"cairn bench: {row['errors']} errors")
        return row["ours"]


class Etcd:
    """Three members; h2load speaks gRPC to the leader: puts of 1 KiB, ranges of one key."""

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

    def measure(self, workload, connections, seconds):
        method, body = ("Range", "read") if workload == "read" else ("Put", "insert")
        before = self.revision()
        done = subprocess.run(
            ["h2load", "-c", str(connections), "-m", "1", "-D", str(seconds), "-d", str(self.folder / body),
             "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://127.0.0.1:{self.leader()}/etcdserverpb.KV/{method}"],
            check=True, text=True, stdout=subprocess.PIPE)
        rate = float(re.search(r"finished in [\d.]+s, ([\d.]+) req/s", done.stdout)[1])
        # A put that etcd refuses is a reply to h2load like any other.
        if method == "Put" and self.revision() - before < 0.95 * rate * seconds:
            raise RuntimeError(f"etcd took {self.revision() - before} puts of {rate * seconds:.0f}")
        return rate


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
        return float(re.search(r"tps = ([\d.]+) \(without initial connection time\)", printed)[1])


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} CPUs ({model[1] if model else 'unknown'}), Linux {os.uname().release}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare")
    parser.add_argument("root", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--workloads", default="insert,update,read,insertMany")
    parser.add_argument("--peers", default="etcd,postgresql")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    # SIGTERM ends the servers like an error does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(os.environ.get("CAIRN_COMPARE_DIR", given.root / ".cairn-compare"))
    folder.mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    folder.chmod(0o755)
    systems = [Cairn(given.root, folder)] + [
        {"etcd": Etcd, "postgresql": PostgreSQL}[name](given.root, folder) for name in given.peers.split(",") if name]
    found = {}
    try:
        for system in systems:
            print(f"starting {system.name} ...", file=sys.stderr)
            system.start()
        for round_number in range(given.rounds):
            for workload in given.workloads.split(","):
                for connections in map(int, given.connections.split(",")):
                    for system in systems:
                        if workload not in system.workloads:
                            continue
                        rate = system.measure(workload, connections, given.seconds)
                        found.setdefault((workload, connections), {}).setdefault(system.name, []).append(rate)
                        print(f"round {round_number + 1}: {system.name} {workload} {connections}: {rate:.0f}", file=sys.stderr)
    finally:
        for system in systems:
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
    names = [system.name for system in systems]
    print(f"\n{machine()}; three nodes each; {given.rounds} rounds of {given.seconds} s in alternation; documents/s, medians;")
    print("ratios are the medians of cairn / peer round by round (lowest to highest)\n")
    print(f"{'workload':<11}{'connections':>11}" + "".join(f"{name:>12}" for name in names)
          + "".join(f"{'/ ' + name:>28}" for name in names[1:]))
    rows = []
    for (workload, connections), rates in found.items():
        line = f"{workload:<11}{connections:>11}"
        row = {"workload": workload, "connections": connections}
        for name in names:
            median = statistics.median(rates[name]) if name in rates else None
            row[name] = median
            line += f"{median:>12.0f}" if median is not None else f"{'-':>12}"
        for name in names[1:]:
            if name not in rates:
                line += f"{'-':>28}"
                continue
            ratios = [ours / theirs for ours, theirs in zip(rates["cairn"], rates[name])]
            row[f"ratio_{name}"] = statistics.median(ratios)
            line += f"{f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})':>28}"
        rows.append(row)
        print(line)
    if given.json:
        print(json.dumps({"compare": rows, "machine": machine()}))


if __name__ == "__main__":
    main()
