"""The report as one HTML page that needs nothing else: the timeline, the counts, the verdicts, and how to repeat it."""

import collections
import html
import math

from faults.history import FAILED, OK, UNKNOWN
from report import machine

WIDTH, LEFT, RIGHT = 1100, 150, 20
ROW, GAP = 110, 26
COLOURS = ("#2f6f8f", "#b5651d", "#5b7f3a", "#8a4f7d", "#b0413e", "#4f5d8a", "#8a7a2f", "#1f8a80", "#c2549d", "#555555")
FAILED_COLOUR, UNKNOWN_COLOUR = "#b58900", "#a61c1c"
# The names of faults stand above each other where there are many; those for which there is no place are in the table.
NAME_ROWS, NAME_HEIGHT, CHARACTER_WIDTH = 6, 13, 6.8
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1140px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse } th, td { text-align: left; padding: .2em 1em .2em 0; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.faults td:nth-child(4) { white-space: nowrap } .faults td:last-child { min-width: 12em }
tr + tr td { border-top: 1px solid #ddd }
.kept { color: #2e6b34 } .broken { color: #a61c1c; font-weight: 600 } .undecided { color: #8a6d1a }
pre { background: #f5f5f3; padding: .6em; overflow-x: auto; font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere }
.wide { overflow-x: auto } svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #333 }
.verdicts .details td { border: 0; padding: 0 } .details pre { margin: 0 0 .5em }
@media (max-width: 700px) {
  /* A timeline that is made to fit would have letters too small to read; so it is moved sideways. */
  svg { width: 1000px } body { margin: 1em auto } th, td { padding-right: .6em }
  .verdicts td { display: block; border: 0; padding: 0 } .verdicts tr:not(.details) td:first-child { border-top: 1px solid #ddd }
  .verdicts td:last-child { padding-bottom: .5em }
}
"""


def escape(value):
    return html.escape(str(value))


class Timeline:
    """Draws what happened over time, a strip for each thing, with the faults as bands behind all of them."""

    def __init__(self, outcome):
        self.outcome = outcome
        ends = [o.ended for operations in outcome.histories.values() for o in operations]
        self.seconds = max([1.0, *ends, *(band.mended for band in outcome.bands)])
        self.bins = max(20, min(400, math.ceil(self.seconds / 0.5)))
        self.parts, self.names = [], []
        rows = self.place_names()
        self.top = 14 + NAME_HEIGHT * max(1, rows)

    def x(self, moment):
        return LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, min(1.0, moment / self.seconds))

    def place_names(self):
        """Gives each fault's name a place above the timeline where it covers no other; returns how many rows that takes."""
        ends = []
        for band in self.outcome.bands:
            width = CHARACTER_WIDTH * len(band.fault)
            left = min(self.x(band.began), WIDTH - width)
            row = next((row for row, end in enumerate(ends) if end + 6 < left), len(ends))
            if row == NAME_ROWS:
                continue
            ends[row:row + 1] = [left + width]
            self.names.append(f'<text x="{left:.1f}" y="{NAME_HEIGHT * (row + 1)}">{escape(band.fault)}</text>')
        return len(ends)

    def add(self, text):
        self.parts.append(text)

    def label(self, text, height):
        self.add(f'<text x="{LEFT - 10}" y="{self.top + height / 2 + 4:.0f}" text-anchor="end">{escape(text)}</text>')

    def svg(self):
        first = self.top - 6
        self.throughput()
        self.latency()
        self.errors()
        self.leaders()
        bottom = self.top
        bands = []
        for band in self.outcome.bands:
            left, right = self.x(band.began), self.x(band.ended)
            note = f"{band.fault}: {band.text}, {band.began:.1f} s to {band.ended:.1f} s, mended at {band.mended:.1f} s"
            box = f'x="{left:.1f}" y="{first}" width="{max(1.0, right - left):.1f}" height="{bottom - first}"'
            bands.append(f'<rect {box} fill="#d9534f" fill-opacity="0.13"><title>{escape(note)}</title></rect>')
        step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10**9) if self.seconds / step <= 14)
        ticks = "".join(f'<text x="{self.x(s):.0f}" y="{bottom + 14}" text-anchor="middle">{s} s</text>'
                        for s in range(0, int(self.seconds) + 1, step))
        return (f'<svg viewBox="0 0 {WIDTH} {bottom + 22}" width="{WIDTH}" role="img" aria-label="what happened over time">'
                f'{"".join(bands)}{"".join(self.names)}{"".join(self.parts)}{ticks}</svg>')

    def binned(self, operations):
        """For each part of the time, the operations that were acknowledged in it."""
        found = [[] for _ in range(self.bins)]
        for operation in operations:
            place = int(operation.ended / self.seconds * self.bins)
            if operation.outcome == OK and 0 <= place < self.bins:
                found[place].append(operation)
        return found

    def line(self, values, highest, colour, title):
        points = " ".join(
            f"{self.x((place + 0.5) * self.seconds / self.bins):.1f},{self.top + ROW - ROW * min(1.0, value / highest):.1f}"
            for place, value in enumerate(values) if value is not None)
        self.add(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4">'
                 f'<title>{escape(title)}</title></polyline>')

    def frame(self, name, highest):
        self.add(f'<rect x="{LEFT}" y="{self.top}" width="{WIDTH - LEFT - RIGHT}" height="{ROW}" fill="none" stroke="#ccc"/>')
        self.label(name, ROW)
        self.add(f'<text x="{LEFT - 10}" y="{self.top + 10}" text-anchor="end">{escape(highest)}</text>')

    def legend(self, names, width):
        for number, name in enumerate(names):
            colour = COLOURS[number % len(COLOURS)]
            self.add(f'<text x="{LEFT + number * width}" y="{self.top + 12}" style="fill:{colour}">{escape(name)}</text>')
        self.top += GAP

    def throughput(self):
        width = self.seconds / self.bins
        rates = {name: [len(part) / width for part in self.binned(operations)]
                 for name, operations in self.outcome.histories.items()}
        highest = max([1.0, *(rate for values in rates.values() for rate in values)])
        self.frame("operations a second", f"{highest:.0f}")
        for number, (name, values) in enumerate(rates.items()):
            self.line(values, highest, COLOURS[number % len(COLOURS)], name)
        self.top += ROW + 6
        self.legend(rates, 90)

    def latency(self):
        parts = self.binned([o for operations in self.outcome.histories.values() for o in operations])
        spans = [sorted(o.ended - o.began for o in part) for part in parts]
        median = [span[len(span) // 2] * 1000 if span else None for span in spans]
        slow = [span[min(len(span) - 1, len(span) * 99 // 100)] * 1000 if span else None for span in spans]
        highest = max([10.0, *(value for value in slow if value is not None)])

        def scaled(values):
            return [None if value is None else math.log10(1 + value) for value in values]

        self.frame("latency in ms (log)", f"{highest:.0f}")
        self.line(scaled(median), math.log10(1 + highest), COLOURS[0], "median")
        self.line(scaled(slow), math.log10(1 + highest), COLOURS[1], "99th percentile")
        self.top += ROW + 6
        self.legend(["median", "99th percentile"], 90)

    def errors(self):
        height = 24
        self.add(f'<text x="{LEFT - 10}" y="{self.top + height / 2 + 4:.0f}" text-anchor="end">'
                 f'<tspan style="fill:{FAILED_COLOUR}">failed</tspan>, <tspan style="fill:{UNKNOWN_COLOUR}">unknown</tspan></text>')
        for operations in self.outcome.histories.values():
            marks = [o for o in operations if o.outcome != OK and not o.error.startswith("11000 ")]
            for operation in marks[:: max(1, len(marks) // 500)]:
                x, colour = self.x(operation.ended), UNKNOWN_COLOUR if operation.outcome == UNKNOWN else FAILED_COLOUR
                self.add(f'<path d="M{x:.1f} {self.top}v{height}" stroke="{colour}"><title>{escape(operation)}</title></path>')
        self.top += height + GAP

    def leaders(self):
        height = 16
        groups = sorted({group for _, leaders in self.outcome.leaders for group in leaders})
        nodes = sorted({leader for _, leaders in self.outcome.leaders for leader in leaders.values() if leader})
        samples = self.outcome.leaders
        for group in groups[:24]:
            self.label(f"group {group}", height)
            start = 0
            for place in range(1, len(samples) + 1):
                leader = samples[start][1].get(group)
                if place < len(samples) and samples[place][1].get(group) == leader:
                    continue
                left = self.x(samples[start][0])
                right = self.x(samples[place][0] if place < len(samples) else self.seconds)
                colour = COLOURS[nodes.index(leader) % len(COLOURS)] if leader else "#fff"
                who = f"node {leader} leads group {group}" if leader else f"nobody is known to lead group {group}"
                box = f'x="{left:.1f}" y="{self.top}" width="{max(0.5, right - left):.1f}" height="{height - 3}"'
                self.add(f'<rect {box} fill="{colour}" stroke="#999" stroke-width="0.3">'
                         f'<title>{who} from {samples[start][0]:.1f} s</title></rect>')
                start = place
            self.top += height
        self.legend([f"node {node}" for node in nodes], 70)


def write_page(outcome, path):
    verdicts = "".join(
        f'<tr><td class="{verdict.word.lower()}">{verdict.word}</td><td>{escape(verdict.name)}</td>'
        f'<td>{escape(verdict.text)}</td></tr>'
        + (f'<tr class="details"><td colspan="3"><pre>{escape(chr(10).join(map(str, verdict.details)))}</pre></td></tr>'
           if verdict.details and verdict.kept is False else "") for verdict in outcome.verdicts)
    heads = "".join(f'<th class="number">{head}</th>' for head in ("acknowledged", "failed", "unknown"))
    rows = f"<tr><th>workload</th>{heads}</tr>"
    for name, operations in outcome.histories.items():
        count = collections.Counter(o.outcome for o in operations)
        cells = "".join(f'<td class="number">{count[what]}</td>' for what in (OK, FAILED, UNKNOWN))
        rows += f"<tr><td>{escape(name)}</td>{cells}</tr>"
    heads = "".join(f'<th class="number">{head}</th>' for head in ("from", "to", "mended"))
    bands = f"<tr>{heads}<th>fault</th><th>what</th></tr>" + "".join(
        f'<tr><td class="number">{band.began:.1f} s</td><td class="number">{band.ended:.1f} s</td>'
        f'<td class="number">{band.mended:.1f} s</td><td>{escape(band.fault)}</td><td>{escape(band.text)}</td></tr>'
        for band in outcome.bands)
    bugs = ""
    if outcome.defects:
        bugs = f"<strong>The nodes had deliberate bugs: {escape(outcome.defects.replace(',', ', '))}.</strong> "
    word = "every promise was kept" if outcome.is_good else "a promise was broken"
    path.write_text(f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cairn under faults: {escape(outcome.what)}, seed {outcome.seed}</title>
<style>{STYLE}</style></head><body>
<h1>Cairn under faults: <span class="{'kept' if outcome.is_good else 'broken'}">{word}</span></h1>
<p>{escape(outcome.what)}, seed {outcome.seed}, {outcome.nodes} nodes ({escape(outcome.wiring)}), Cairn {escape(outcome.version)},
{escape(machine())}. {bugs}The same again:</p><pre>{escape(outcome.command)}</pre>
<h2>What happened</h2><div class="wide">{Timeline(outcome).svg()}</div>
<h2>Verdicts</h2><table class="verdicts">{verdicts}</table>
<h2>What clients were told</h2>
<div class="wide"><table>{rows}</table></div>
<h2>Faults</h2>
<div class="wide"><table class="faults">{bands}</table></div>
</body></html>
""")
