"""All kinds of faults; importing this enters them in `fault.REGISTRY`."""

from faults.kinds import clocks, disks, limits, members, networks, power, processes  # noqa: F401
