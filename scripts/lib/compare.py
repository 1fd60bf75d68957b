"""Loads three-node clusters of Cairn, etcd and PostgreSQL in turn and prints medians and ratios (see scripts/compare)."""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile

from peers import Cairn, Etcd, PostgreSQL
from report import machine


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
                        rate = system.measure(workload, connections, given.seconds).rate
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
