"""All workloads; importing this enters them in `workload.REGISTRY`."""

from faults.workloads import counters, registers, sets  # noqa: F401
