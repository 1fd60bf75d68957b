"""What the measuring scripts print: the machine, a table, and the line of JSON at the end."""

import json
import math
import os
import pathlib
import re


def machine():
    model = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{os.cpu_count()} CPUs ({model[1] if model else 'unknown'}), Linux {os.uname().release}"


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def print_table(table, words):
    """Lines of cells, the first of them the header; the first `words` columns are text, the others numbers."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) if column < words else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(line, widths))).rstrip())


def print_json(bench, rows, mean):
    """The last line of every benchmark; a ratio above 1 means that Cairn is ahead."""
    print(json.dumps({"bench": bench, "machine": machine(), "rows": rows, "geomean": round(mean, 3)}))
