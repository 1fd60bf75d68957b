"""Runs storage-bench and db_bench in turn with the same settings and prints medians and ratios (see scripts/bench)."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

from report import geomean, machine, print_json, print_table

WRITE_RATE = 10_000_000
KEY_BYTES = 16
# What one process does after another, each on the directory that the one before left, or on a new one.
STEPS = (
    ("fresh", ("fillseq", "settle"), 1),
    ("fresh", ("fillsync",), 1),
    ("fresh", ("fillsync",), 8),
    ("fresh", ("fillrandom", "settle"), 1),
    ("kept", ("readrandom", "readmissing", "readseq", "seekrandom"), 1),
    ("kept", ("overwrite", "settle"), 1),
    ("kept", ("readwhilewriting",), 1),
)


class Cairn:
    name = "cairn"

    def __init__(self, encrypted=False):
        self.encrypted = encrypted

    def command(self, folder, size, workloads, threads, operations):
        extra = ["--encrypted"] if self.encrypted else []
        return [os.environ["CAIRN_STORAGE_BENCH"], "--directory", folder, "--workloads", ",".join(workloads), "--keys", size.keys,
                "--value-bytes", size.value_bytes, "--threads", threads, "--operations", operations,
                "--write-rate", WRITE_RATE, *extra]

    def rates(self, output):
        rows = [json.loads(line) for line in output.splitlines()]
        return {row["workload"]: row["operationsPerSecond"] for row in rows if row["workload"] != "settle"}


class RocksDB:
    name = "rocksdb"
    encrypted = False

    def command(self, folder, size, workloads, threads, operations):
        names = []
        for workload in workloads:
            names += ["flush", "waitforcompaction"] if workload == "settle" else [workload]
        return ["db_bench", f"--db={folder}", f"--benchmarks={','.join(names)}", f"--num={operations}",
                f"--value_size={size.value_bytes}", f"--key_size={KEY_BYTES}", f"--threads={threads}",
                "--compression_type=snappy", "--bloom_bits=10", "--block_size=4096", "--write_buffer_size=67108864",
                "--cache_size=134217728", "--max_background_jobs=2", "--seek_nexts=10",
                f"--benchmark_write_rate_limit={WRITE_RATE if 'readwhilewriting' in workloads else 0}",
                f"--use_existing_db={0 if set(workloads) & {'fillseq', 'fillrandom', 'fillsync'} else 1}"]

    def rates(self, output):
        return {name: int(rate) for name, rate in re.findall(r"^(\w+)\s*:.*?(\d+) ops/sec", output, re.MULTILINE)
                if name not in ("flush", "waitforcompaction")}


class Size:
    def __init__(self, keys, value_bytes):
        self.keys, self.value_bytes = keys, value_bytes
        self.name = f"{keys} x {value_bytes} B"


def run(command, environment):
    """Runs a command; its output, peak memory in bytes and bytes that it had written."""
    process = subprocess.Popen([str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    try:
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors or output}")
    return output, usage.ru_maxrss * 1024, usage.ru_oublock * 512


def folder_bytes(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def measure(engine, folder, size, syncs):
    """One pass over all steps: figures by row."""
    figures = {}
    peak = 0
    for kind, workloads, threads in STEPS:
        if kind == "fresh":
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        operations = syncs if "fillsync" in workloads else size.keys
        output, memory, written = run(engine.command(folder, size, workloads, threads, operations), dict(os.environ))
        peak = max(peak, memory)
        for name, rate in engine.rates(output).items():
            figures[f"{name}, {threads} threads" if name == "fillsync" else name] = rate
        if workloads[0] in ("fillrandom", "overwrite"):
            user = size.keys * (KEY_BYTES + size.value_bytes)
            figures[f"{workloads[0]}: bytes written per byte"] = written / user
            figures[f"{workloads[0]}: space per byte"] = folder_bytes(folder) / user
    figures["peak memory"] = peak
    return figures


def unit(row):
    return "MiB" if row == "peak memory" else "B/B" if "per byte" in row else "op/s"


def text(row, value):
    return f"{value / 2**20:.0f}" if row == "peak memory" else f"{value:.2f}" if "per byte" in row else f"{value:,.0f}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench storage")
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="a quarter of the keys, one round")
    parser.add_argument("--rounds", type=int, help="passes over everything, in alternation (default 3)")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    share = 4 if arguments.quick else 1
    sizes = [Size(2_000_000 // share, 100), Size(200_000 // share, 1024)]
    syncs = 5000 // share
    folder = pathlib.Path(os.environ.get("CAIRN_BENCH_DIR", arguments.root / ".cairn-bench"))
    engines = {"cairn": Cairn(), "rocksdb": RocksDB(), "encrypted": Cairn(encrypted=True)}
    results = {}
    done, total = 0, rounds * len(sizes) * len(engines)
    try:
        for round_number in range(rounds):
            for size in sizes:
                for name, engine in engines.items():
                    if sys.stderr.isatty():
                        print(f"\r\033[K{done}/{total} round {round_number + 1}: {size.name}, {name}", end="", file=sys.stderr)
                    figures = measure(engine, folder / name, size, syncs)
                    shutil.rmtree(folder / name, ignore_errors=True)
                    for row, value in figures.items():
                        results.setdefault((size.name, row), {}).setdefault(name, []).append(value)
                    done += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)

    print(f"{machine()}; medians of {rounds}; settings of db_bench: snappy, 10-bit bloom filter, 4 KiB blocks, 64 MiB write")
    print("buffer, 128 MiB cache, two background jobs; readwhilewriting beside 10 MB/s of writes\n")
    rows = []
    for (size, row), figures in results.items():
        better = (lambda a, b: b / a) if unit(row) != "op/s" else (lambda a, b: a / b)
        median = {name: statistics.median(values) for name, values in figures.items()}
        ratio = statistics.median(better(a, b) for a, b in zip(figures["cairn"], figures["rocksdb"]))
        cipher = statistics.median(better(a, b) for a, b in zip(figures["encrypted"], figures["cairn"]))
        rows.append({"row": f"{size}: {row}", "ours": median["cairn"], "peer": median["rocksdb"], "unit": unit(row),
                     "ratio": round(ratio, 3), "encrypted": median["encrypted"], "encryptedRatio": round(cipher, 3)})
    header = ("keys and values", "row", "unit", "Cairn", "RocksDB", "ratio", "encrypted", "of plain")
    table = [header] + [
        (size, row, unit(row), text(row, found["ours"]), text(row, found["peer"]), f"{found['ratio']:.2f}",
         text(row, found["encrypted"]), f"{found['encryptedRatio']:.2f}")
        for (size, row), found in zip(results, rows)]
    print_table(table, words=3)
    speeds = [row["ratio"] for row in rows if row["unit"] == "op/s"]
    mean = geomean(speeds)
    print(f"\ngeometric mean of the speeds {mean:.2f}, lowest ratio {min(row['ratio'] for row in rows):.2f}, "
          f"encryption's lowest {min(row['encryptedRatio'] for row in rows):.2f}\n")
    print_json("storage", rows, mean)


if __name__ == "__main__":
    main()
