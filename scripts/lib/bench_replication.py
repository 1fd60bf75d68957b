"""Loads three nodes of Cairn and of etcd in turn with the same writes and prints medians and ratios (see scripts/bench)."""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import time

from peers import VALUE_BYTES, Cairn, Etcd, bytes_written, cpu_seconds, settled_bytes_written
from report import geomean, machine, print_json, print_table

CLIENTS = (1, 16, 64, 256)
READERS = 64
# Connections that clients share where that is faster than one each.
SHARED = 4
# Figure: unit, and whether more is better.
FIGURES = {
    "throughput": ("op/s", True),
    "p50": ("ms", False),
    "p99": ("ms", False),
    "processor time per operation": ("us", False),
}


def measure(system, workload, clients, connections, seconds):
    """One load: figures by name, and how many operations it was."""
    if isinstance(system, Cairn):
        # The documents to read are there from the first load on; later ones find them and begin at once.
        options = {"keep": True}
    else:
        options = {}
    before = cpu_seconds(system.pids)
    done = system.measure("read" if workload == "read" else "insert", clients, seconds, connections, **options)
    processor = cpu_seconds(system.pids) - before
    return {
        "throughput": done.rate, "p50": done.p50, "p99": done.p99,
        "processor time per operation": processor / done.operations * 1e6,
    }, done.operations


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench replication")
    parser.add_argument("root", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="two rounds of 3 s, less than five minutes in all")
    parser.add_argument("--rounds", type=int, help="passes over everything, in alternation (default 5)")
    parser.add_argument("--seconds", type=int, help="how long each load lasts (default 6)")
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    seconds = given.seconds or (3 if given.quick else 6)
    # SIGTERM ends the servers like an error does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent = pathlib.Path(os.environ.get("CAIRN_BENCH_DIR", given.root / ".cairn-bench"))
    parent.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
    systems = [Cairn(given.root, folder), Etcd(given.root, folder)]
    loads = [("write", clients) for clients in CLIENTS] + [("read", READERS)]
    found, written, user = {}, {}, {}
    # How many connections suit each system best, by load.
    suits = {}
    trials = sum(clients > SHARED for _, clients in loads) * 2 * len(systems)
    done, total = 0, trials + rounds * len(loads) * len(systems)
    try:
        for system in systems:
            print(f"starting {system.name} ...", file=sys.stderr)
            system.start()
            if isinstance(system, Cairn):
                system.measure("read", 1, 1, keep=True)
            written[system.name] = -bytes_written(system.pids)
            user[system.name] = 0
        for workload, clients in loads:
            for system in systems:
                rates = {clients: 0}
                for connections in (SHARED, clients) if clients > SHARED else ():
                    figures, operations = measure(system, workload, clients, connections, min(seconds, 3))
                    if workload == "write":
                        user[system.name] += operations * VALUE_BYTES
                    rates[connections] = figures["throughput"]
                    done += 1
                    print(f"{done}/{total} {system.name}, {clients} clients with {connections} connections, {workload}: "
                          f"{figures['throughput']:,.0f} op/s", file=sys.stderr)
                suits[system.name, workload, clients] = max(rates, key=rates.get)
        for round_number in range(rounds):
            for workload, clients in loads:
                # Whoever comes second finds what the first one left to the disk, so they take turns.
                for system in systems if round_number % 2 == 0 else reversed(systems):
                    connections = suits[system.name, workload, clients]
                    figures, operations = measure(system, workload, clients, connections, seconds)
                    if workload == "write":
                        user[system.name] += operations * VALUE_BYTES
                    for name, value in figures.items():
                        found.setdefault((workload, clients, name), {}).setdefault(system.name, []).append(value)
                    done += 1
                    print(f"{done}/{total} round {round_number + 1}: {system.name}, {clients} clients, {workload}: "
                          f"{figures['throughput']:,.0f} op/s", file=sys.stderr)
                    time.sleep(0.5)
        for system in systems:
            system.flush()
        for system in systems:
            written[system.name] += settled_bytes_written(system.pids)
    finally:
        for system in systems:
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            parent.rmdir()

    rows = []
    for (workload, clients, name), values in found.items():
        unit, more_is_better = FIGURES[name]
        ours, theirs = values["cairn"], values["etcd"]
        ratios = [a / b if more_is_better else b / a for a, b in zip(ours, theirs)]
        rows.append({"row": f"{workload}, {clients} client{'s' if clients > 1 else ''}: {name}",
                     "ours": round(statistics.median(ours), 3), "peer": round(statistics.median(theirs), 3), "unit": unit,
                     "ratio": round(statistics.median(ratios), 3), "lowest": round(min(ratios), 3),
                     "highest": round(max(ratios), 3)})
    ours, theirs = (written[name] / user[name] for name in ("cairn", "etcd"))
    rows.append({"row": "bytes written to disk per byte of user data", "ours": round(ours, 3), "peer": round(theirs, 3),
                 "unit": "B/B", "ratio": round(theirs / ours, 3), "lowest": round(theirs / ours, 3),
                 "highest": round(theirs / ours, 3)})
    print(f"\n{machine()}; three nodes each on one disk; medians of {rounds} rounds of {seconds} s in alternation; values of")
    print("1 KiB, each on a majority's disks; the loads (cairn bench, h2load) share the processors; a ratio is the median of")
    print("the rounds', above 1 where Cairn is ahead; processor time and bytes are of all three nodes together.")
    print("Each system's clients have a connection each or share four, whichever a trial before found to be faster:")
    for system in systems:
        chosen = ", ".join(f"{workload} {clients}: {suits[system.name, workload, clients]}" for workload, clients in loads)
        print(f"connections of {system.name}: {chosen}")
    print()
    table = [("row", "unit", "Cairn", "etcd", "ratio", "lowest", "highest")]
    for row in rows:
        digits = {"op/s": 0, "us": 0}.get(row["unit"], 2)
        table.append((row["row"], row["unit"], f"{row['ours']:,.{digits}f}", f"{row['peer']:,.{digits}f}",
                      f"{row['ratio']:.2f}", f"{row['lowest']:.2f}", f"{row['highest']:.2f}"))
    print_table(table, words=2)
    mean = geomean(row["ratio"] for row in rows if row["unit"] == "op/s")
    print(f"\ngeometric mean of the throughputs {mean:.2f}, lowest ratio {min(row['ratio'] for row in rows):.2f}\n")
    print_json("replication", rows, mean)


if __name__ == "__main__":
    main()
