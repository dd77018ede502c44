#!/usr/bin/env python3
"""Draws the pictures of speed and writes the tables, from the figures beside this file: `python3 docs/speed.py`.

It writes `speed.svg`, `threads.svg`, `processes.svg` and `sched.svg`, the same pictures for rustdoc below
`guide/pictures`, and the tables between markers in `guide/speed.md`, `guide/performance.md` and `guide/building.md`. With `--check` it
writes nothing, and fails if a file is not as the figures say.
"""

import base64
import csv
import html
import re
import sys
from math import log10
from pathlib import Path

DOCS = Path(__file__).resolve().parent
OURS = "this crate"

# The tables: of each file the groups, with the heads of their columns. A peer is a row.
TABLES = {
    "threads": [
        ("submit 1000000 calls, take all results, 2 workers", "submit, take all results"),
        ("submit 1000000 calls, take all results, 4 submitters, 2 workers", "the same from 4 threads"),
        ("fire 1000000 calls and forget, 2 workers", "fire and forget"),
        ("round trip, 2 workers", "round trip"),
        ("round trip into an idle pool, 2 workers", "round trip, idle pool"),
        ("take 100000 results in the order in which they end, 2 workers", "as completed"),
        ("tree of calls with 2^18 leaves, 2 workers", "tree of waiting calls"),
        ("memory of a pending call, 1000000 of them", "memory of a pending call"),
    ],
    "processes": [
        ("round trip of an empty call", "round trip"),
        ("empty calls submitted one by one", "one by one"),
        ("map, chunks of 100, per item", "map in chunks of 100"),
        ("echo of 1 MiB", "echo of 1 MiB"),
        ("echo of 64 MiB", "echo of 64 MiB"),
        ("pool up to the first result, holding 0 GiB", "first result"),
        ("a call kills its worker: caller told", "told of a death"),
        ("a call kills its worker: four good answers", "four answers after a death"),
    ],
    "mpi": [
        ("round trip of an empty call, p50", "round trip"),
        ("empty calls, two at a time with each rank", "two at a time"),
        ("empty calls", "empty calls"),
        ("map, chunks of 1000, per item", "map in chunks of 1,000"),
        ("echo of 1 MiB, one at a time", "echo of 1 MiB"),
        ("echo of 1 MiB, eight at a time", "eight at a time"),
        ("echo of 16 MiB, eight at a time", "16 MiB, eight at a time"),
    ],
    "sched": [
        ("enter 1000 at random times, run all", "enter and run 1,000"),
        ("enter 1000000 at random times, run all", "enter and run 1,000,000"),
        ("run the next, enter one, 1000 pending", "run one, enter one; 1,000 pending"),
        ("run the next, enter one, 1000000 pending", "the same, 1,000,000"),
        ("cancel half of 1000 at random", "cancel half of 1,000"),
        ("cancel half of 1000000 at random", "cancel half of 1,000,000"),
        ("memory of a pending event, 1000000 of them", "memory of an event"),
        ("lateness on the real clock, 1 ms apart", "lateness"),
        ("lateness of an earlier event entered by another thread", "lateness of one entered meanwhile"),
    ],
}

# The prices of this crate's calls, in `guide/performance.md`: what, and of which group.
PRICES = {
    "threads": [
        ("submit an empty call, keep its future, take its result; a million of them", TABLES["threads"][0][0]),
        ("the same, results as they are completed; 100,000 of them", TABLES["threads"][5][0]),
        ("`execute`, without a future", TABLES["threads"][2][0]),
        ("one round trip", TABLES["threads"][3][0]),
        ("one round trip into an idle pool, whose worker must wake up", TABLES["threads"][4][0]),
    ],
    "processes": [
        ("submit an empty call, keep its future, take its result; 100,000 of them", "empty calls submitted one by one"),
        ("an item of `map` in chunks of 100", "map, chunks of 100, per item"),
        ("one round trip", "round trip of an empty call"),
        ("make a pool, start its first worker, take the first result", "pool up to the first result, holding 0 GiB"),
    ],
}

# The order in the picture of events: what stands side by side has as many rows.
SCHED = [
    *(group.format(n) for n in (1000, 100000, 1000000)
      for group in ("enter {} at random times, run all", "cancel half of {} at random")),
    *(group.format(n) for n in (1000, 100000, 1000000)
      for group in ("run the next, enter one, {} pending", "the same, the structures alone, {} pending")),
    *(group for group, _ in TABLES["sched"][-3:]),
]

# The picture of the README: a title, the file, the group, and the peers.
AT_A_GLANCE = [
    ("threads: submit a million calls, take the results", "threads", TABLES["threads"][0][0],
     ["crossbeam-channel + oneshot", "rayon + oneshot", "Java ThreadPoolExecutor", "CPython ThreadPoolExecutor"]),
    ("processes: round trip of a call", "processes", "round trip of an empty call",
     ["procspawn", "multiprocessing.Pool", "CPython", "loky"]),
    ("threads: results as they are completed", "threads", TABLES["threads"][5][0],
     ["crossbeam-channel + oneshot", "Java ForkJoinPool", "tokio spawn", "CPython ThreadPoolExecutor"]),
    ("processes: map in chunks of 100, an item", "processes", "map, chunks of 100, per item",
     ["procspawn", "multiprocessing.Pool", "CPython", "loky"]),
    ("threads: round trip into an idle pool", "threads", TABLES["threads"][4][0],
     ["executors + oneshot", "crossbeam-channel + oneshot", "tokio spawn", "CPython ThreadPoolExecutor"]),
    ("events: run the next, enter one; 1,000 pending", "sched", "run the next, enter one, 1000 pending",
     ["std BinaryHeap + tombstones", "priority-queue", "tokio-util DelayQueue", "CPython sched"]),
    ("threads: a tree of calls that wait for calls", "threads", TABLES["threads"][6][0],
     ["Java ForkJoinPool", "rayon + oneshot", "tokio spawn, children awaited", "CPython ThreadPoolExecutor"]),
    ("events: cancel half of 1,000", "sched", "cancel half of 1000 at random",
     ["scheduled-thread-pool", "std BinaryHeap + tombstones", "tokio-util DelayQueue", "CPython sched"]),
]


def figures(name):
    """What was measured: {group: {peer: (ratio, value, unit)}}. A ratio is a multiple of ours."""
    lines = (DOCS / f"{name}.csv").read_text().splitlines()
    groups = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        # How a peer was used is told in the page, not in its name.
        peer = re.sub(r" \((small|200 at a time|floor)\)| by hand|, ByteBuf|, Vec<u8>", "", row["name"])
        peer = re.sub(r"\bus\b", "µs", peer.replace("concurrent", OURS))
        measured = float(row["ratio"]), float(row["value"]), row["unit"]
        groups.setdefault(row["group"], {})[peer] = measured
    return groups


def conditions(name):
    """The machine, of the comments of a file."""
    lines = (DOCS / f"{name}.csv").read_text().splitlines()
    return " · ".join(re.sub(r" \([0-9a-f]{6,} .*?\)", "", line[2:]) for line in lines if line.startswith("#"))


def multiple(ratio):
    """Two digits: 0.28, 3.2, 18, 110,000."""
    digits = 2 if ratio < 1 else 1 if ratio < 9.95 else 0
    if ratio >= 100:
        scale = 10 ** (len(str(int(ratio))) - 2)
        ratio = round(ratio / scale) * scale
    return f"{ratio:,.{digits}f}"


def short(ratio):
    """The same for a picture: 110k, 1.2M."""
    for scale, letter in ((1e6, "M"), (1e4, "k")):
        if ratio >= scale:
            return multiple(ratio / (1e3 if letter == "k" else scale)) + letter
    return multiple(ratio)


def quantity(value, unit):
    """In the unit that a person takes: 31 ms, not 31,492,595 ns."""
    if unit == "bytes":
        return f"{value:,.0f} B"
    if unit in ("ns", "us"):
        value = value * 1000 if unit == "us" else value
        unit = "ns"
        for larger in ("µs", "ms", "s"):
            if value >= 999.5:
                value, unit = value / 1000, larger
    return f"{value:.{0 if value >= 9.95 or value == int(value) else 1}f} {unit}"


def table(name):
    groups = figures(name)
    columns = [(groups[group], head) for group, head in TABLES[name]]
    peers = list(dict.fromkeys(peer for column, _ in columns for peer in column))
    # Ours is what the others are measured by.
    peers = [peer for peer in peers if not peer.startswith(OURS)]
    lines = ["| | " + " | ".join(head for _, head in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for peer in peers:
        cells = []
        for column, _ in columns:
            ratio = column[peer][0] if peer in column else None
            shown = "" if ratio is None else multiple(ratio)
            cells.append(f"**{shown}**" if shown and ratio < 0.995 else shown)
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def prices(name):
    lines = ["| a call | price |", "| --- | --- |"]
    for what, group in PRICES[name]:
        _, value, unit = figures(name)[group][OURS]
        lines.append(f"| {what} | {quantity(value, unit)} |")
    return "\n".join(lines)


def size(name):
    """What a program with one pool costs to build, for each library."""
    lines = (DOCS / f"{name}.csv").read_text().splitlines()
    shown = ["| | packages | seconds to build | program |", "| --- | --- | --- | --- |"]
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        program = f"{int(row['bytes']) / 1024:,.0f} KiB"
        shown.append(f"| {row['name']} | {row['packages']} | {float(row['seconds']):.1f} | {program} |")
    return "\n".join(shown)


def page(path, tables, written):
    """A page, each of its tables written anew."""
    text = path.read_text()
    for name in tables:
        marked = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(marked, lambda m: m[1] + "\n" + written(name) + "\n" + m[2], text, flags=re.S)
        assert count == 1, f"{path}: no place for {name}"
    return text


# A picture: panels in two columns, a row for each peer. Bars begin at the time of this crate and lead
# to the right where the peer takes longer, to the left where it is faster.
WIDTH, PANEL, NAMES, BARS, ROW = 860, 418, 190, 124, 15


class Scale:
    def __init__(self, least, most):
        self.least, self.most = log10(least), log10(most)

    def __call__(self, ratio):
        """The place of a multiple from the left of the panel; what lies beyond the end is put there."""
        at = min(max(log10(max(ratio, 1e-9)), self.least), self.most)
        return NAMES + 6 + BARS * (at - self.least) / (self.most - self.least)


def panel(x, y, title, rows, scale):
    """The parts of a panel whose upper left corner is there, and its height."""
    title = re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", title.replace(", 2 workers", "").replace("2^18", "262144"))
    parts = [f'<text class="title" x="{x}" y="{y + 12}">{html.escape(title)}</text>']
    top, bottom = y + 17, y + 19 + ROW * len(rows)
    for exponent in range(-2, 4):
        if scale.least <= exponent <= scale.most:
            at = x + scale(10.0**exponent)
            kind = ' class="one"' if exponent == 0 else ""
            parts.append(f'<line{kind} x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom}"/>')
    for index, (peer, (ratio, value, unit)) in enumerate(rows):
        base = top + 12 + ROW * index
        ours = peer.startswith(OURS)
        begin, end = sorted((scale(1), scale(ratio)))
        kind = "ours" if ours else "faster" if ratio < 0.995 else "slower"
        parts.append(f'<text class="name {kind}" x="{x + NAMES}" y="{base}">{html.escape(peer)}</text>')
        width = max(end - begin, 2)
        parts.append(f'<rect class="{kind}" x="{x + begin:.1f}" y="{base - 10}" width="{width:.1f}" height="11"/>')
        words = quantity(value, unit) if peer == OURS else f"{short(ratio)}× · {quantity(value, unit)}"
        parts.append(f'<text class="figure" x="{x + NAMES + BARS + 12}" y="{base}">{words}</text>')
    return parts, bottom - y


def picture(head, panels, foot, least=0.1, most=1000):
    """An SVG of panels, (title, rows) each, that is read on light and on dark ground."""
    scale, y, parts = Scale(least, most), 54, []
    for index in range(0, len(panels), 2):
        heights = []
        for column, (title, rows) in enumerate(panels[index : index + 2]):
            drawn, height = panel(12 + column * (PANEL + 10), y, title, rows, scale)
            parts += drawn
            heights.append(height)
        y += max(heights) + 12
    height = y + 14
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<title>{head}</title>
<style>
  text {{ font: 11px system-ui, sans-serif; fill: #24292f; }}
  .head {{ font-size: 14px; font-weight: 600; }} .title {{ font-size: 12px; font-weight: 600; }} .name {{ text-anchor: end; }}
  .figure, .note {{ fill: #57606a; }} text.ours {{ font-weight: 600; }}
  rect.ours {{ fill: #b7410e; }} rect.slower {{ fill: #8c959f; }} rect.faster {{ fill: #1f7a8c; }}
  line {{ stroke: #d8dee4; }} line.one {{ stroke: #b7410e; }} .back {{ fill: #ffffff; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }} .figure, .note {{ fill: #9198a1; }} rect.ours {{ fill: #f0883e; }} rect.slower {{ fill: #656c76; }}
    rect.faster {{ fill: #56b6c8; }} line {{ stroke: #2f353d; }} line.one {{ stroke: #f0883e; }} .back {{ fill: #0d1117; }}
  }}
</style>
<rect class="back" width="{WIDTH}" height="{height}"/>
<text class="head" x="12" y="22">{head}</text>
<text class="note" x="12" y="40">bars to the right: slower than this crate, to the left: faster; a line is a factor of ten; times are medians</text>
{chr(10).join(parts)}
<text class="note" x="12" y="{height - 8}">{html.escape(foot)}</text>
</svg>
"""


def at_a_glance():
    panels = []
    for title, file, group, peers in AT_A_GLANCE:
        rows = figures(file)[group]
        panels.append((title, [(peer, rows[peer]) for peer in [OURS, *peers]]))
    return picture("Speed beside others", panels, conditions("threads") + " · 2 workers")


def whole(name, head, groups=None, **scale):
    """All that was measured; what has no peer is told below it."""
    measured = figures(name)
    groups = groups or list(measured)
    compared = [(group, list(measured[group].items())) for group in groups if len(measured[group]) > 1]
    return picture(head, compared, conditions(name), **scale)


def main():
    pictures = {
        "speed": at_a_glance(),
        "threads": whole("threads", "Pools of threads", [g for g, _ in TABLES["threads"]], least=0.03, most=300),
        "processes": whole("processes", "Worker processes", least=0.3, most=300),
        "sched": whole("sched", "Events", SCHED),
    }
    wanted = {
        DOCS / "guide/speed.md": page(DOCS / "guide/speed.md", TABLES, table),
        DOCS / "guide/performance.md": page(DOCS / "guide/performance.md", PRICES, prices),
        DOCS / "guide/building.md": page(DOCS / "guide/building.md", ["size"], size),
    }
    for name, svg in pictures.items():
        data = base64.b64encode(svg.encode()).decode()
        wanted[DOCS / f"{name}.svg"] = svg
        wanted[DOCS / f"guide/pictures/{name}.md"] = f"[{name}_chart]: data:image/svg+xml;base64,{data}\n"
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is not what the figures say: python3 docs/speed.py")
        sys.exit(bool(stale))
    for path, text in wanted.items():
        path.write_text(text)


main()
