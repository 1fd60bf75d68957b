"""The command line of scripts/faults."""

import argparse
import os
import pathlib
import random
import signal
import sys
import traceback

from faults import fault, kinds, workload, workloads  # noqa: F401
from faults.cluster import Trouble
from faults.page import write_page
from faults.report import line, print_text
from faults.run import Run
from report import print_table

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def parsed():
    parser = argparse.ArgumentParser(prog="scripts/faults")
    parser.add_argument("root", type=pathlib.Path, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    nodes = {"type": int, "choices": (3, 5), "default": int(os.environ.get("CAIRN_NODES", 3)), "help": "how many nodes"}
    listing = commands.add_parser("list", help="what there is")
    listing.add_argument("--nodes", **nodes)
    running = commands.add_parser("run", help="break a cluster")
    running.add_argument("what", metavar="NAME|all|random")
    running.add_argument("--seed", type=int)
    running.add_argument("--minutes", type=float)
    running.add_argument("--nodes", **nodes)
    running.add_argument("--workloads", default=",".join(workload.REGISTRY))
    running.add_argument("--report", type=lambda text: pathlib.Path(text).absolute())
    running.add_argument("--defect", metavar="NAME[,NAME]")
    running.add_argument("--keep", action="store_true")
    running.add_argument("--json", action="store_true")
    return parser.parse_args()


def print_list(nodes):
    table = [("fault", "here", "what it does")]
    for kind in fault.REGISTRY.values():
        table.append((kind.name, kind.missing(nodes) or "yes", kind.about))
    print_table(table, words=3)
    print()
    print_table([("workload", "what it does"), *((kind.name, kind.about) for kind in workload.REGISTRY.values())], words=2)


def main():
    given = parsed()
    if given.command == "list":
        print_list(given.nodes)
        return 0

    def say(text):
        print(text, file=sys.stderr, flush=True)

    def end(number, _):
        # Cleaning up is not interrupted.
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    # Whatever ends the run, its nodes end with it.
    for number in SIGNALS:
        signal.signal(number, end)
    run = outcome = None
    try:
        names = [name for name in given.workloads.split(",") if name]
        if unknown := [name for name in names if name not in workload.REGISTRY]:
            raise Trouble(f"there is no workload '{unknown[0]}'; see scripts/faults list")
        seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 31)
        tell = (lambda _: None) if given.json else say
        run = Run(given.root, given.what, seed, given.minutes, given.nodes, names, tell, given.keep, given.defect)
        outcome = run.make()
    except Trouble as trouble:
        say(f"scripts/faults: {trouble}")
        if run:
            say(f"scripts/faults: what there is of the run is in {run.folder}; the same again: {run.outcome.command}")
        return 2
    except Exception:
        # A mistake of the run's own, not of the cluster's; its nodes are gone by now.
        traceback.print_exc()
        if run:
            say(f"scripts/faults: what there is of the run is in {run.folder}; the same again: {run.outcome.command}")
        return 2
    except KeyboardInterrupt as signalled:
        say(f"scripts/faults: ended by {signalled}")
        if run:
            run.clean_up(True)
        return 2
    if outcome.is_good and not given.keep:
        outcome.folder = None
    page = given.report or (outcome.folder / "report.html" if outcome.folder else None)
    if page:
        write_page(outcome, page)
    run.clean_up(outcome.is_good)
    if not given.json:
        print_text(outcome)
        if page:
            print(f"report: {page}")
        if outcome.folder:
            print(f"data, logs and histories: {outcome.folder}")
        print()
    print(line(outcome, page))
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
