"""All workloads; importing this enters them in `workload.REGISTRY`."""

from faults.workloads import (  # noqa: F401
    bulks, counters, cursors, indexed, lists, queues, registers, retries, sets, swift_client, uniques)
