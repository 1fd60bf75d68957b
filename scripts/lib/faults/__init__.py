"""What an operator runs against real processes to believe the promises (see scripts/faults).

In reading order: `cluster` starts nodes and asks them how they are, `wiring` is the network between them, `shim` what is between
them and their disks, `fault` says what a fault is and `kinds` has them all, `workload` says what clients do and `workloads` has
them all, `worker` is a process of clients, `history` is what they remember, `checkers` judge it, `schedule` draws what happens
when, `run` does it all, and `report` and `page` tell about it.
"""
