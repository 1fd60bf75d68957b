"""All kinds of faults; importing this enters them in `fault.REGISTRY`."""

from faults.kinds import clocks, disks, limits, members, networks, processes  # noqa: F401
