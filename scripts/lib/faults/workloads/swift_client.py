"""Workloads whose clients are Swift's: a process of the program `fault-workload` for each, which reaches the cluster through CairnClient
and routes for itself. Histories and checkers are those of the same workloads through a driver."""

import os

from faults.workload import registered
from faults.workloads.counters import Counters
from faults.workloads.lists import Lists
from faults.workloads.registers import Registers
from faults.workloads.sets import Sets
from faults.workloads.uniques import Uniques


class ThroughSwift:
    """Comes before a workload that is known; `fault-workload` does the same under the same name."""

    @property
    def worker(self):
        return [os.environ["CAIRN_FAULT_WORKLOAD"]]

    def act(self, client, elapsed):
        raise NotImplementedError("its clients are Swift's")

    def verdicts(self, operations, final, budget):
        verdicts = super().verdicts(operations, final, budget)
        for verdict in verdicts:
            verdict.name += ", through the Swift client"
        return verdicts


@registered
class SwiftSets(ThroughSwift, Sets):
    name = "swift-set"
    about = f"through the Swift client: {Sets.about}"


@registered
class SwiftCounters(ThroughSwift, Counters):
    name = "swift-counter"
    about = f"through the Swift client: {Counters.about}"


@registered
class SwiftRegisters(ThroughSwift, Registers):
    name = "swift-register"
    about = "through the Swift client: reads, writes, and compare-and-set by findAndModify, on a few documents at a time"


@registered
class SwiftLists(ThroughSwift, Lists):
    name = "swift-list"
    about = f"through the Swift client: {Lists.about}"


@registered
class SwiftUniques(ThroughSwift, Uniques):
    name = "swift-unique"
    about = f"through the Swift client: {Uniques.about}"
