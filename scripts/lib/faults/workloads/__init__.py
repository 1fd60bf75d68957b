"""All workloads; importing this enters them in `workload.REGISTRY`."""

from faults.workloads import bulks, counters, cursors, indexed, lists, queues, registers, retries, sets, uniques  # noqa: F401
