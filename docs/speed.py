#!/usr/bin/env python3
"""The tables and the picture of speed, out of the figures beside this file: `python3 docs/speed.py`.

It writes `speed.svg`, and in `guide/speed.md` what stands between markers. With `--check` it writes
nothing, and fails if something is not as the figures say.
"""

import csv
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "guide/speed.md"

# Tables: the file, and the group of each column with its head. A peer is a row.
TABLES = {
    "threads": ("threads", [
        ("submit 1000000 calls, take all results, 2 workers", "submit, take all results"),
        ("submit 1000000 calls, take all results, 4 submitters, 2 workers", "the same from 4 threads"),
        ("fire 1000000 calls and forget, 2 workers", "fire and forget"),
        ("round trip, 2 workers", "round trip"),
        ("round trip into an idle pool, 2 workers", "round trip, idle pool"),
        ("take 100000 results in the order in which they end, 2 workers", "as completed"),
        ("tree of calls with 2^18 leaves, 2 workers", "tree of waiting calls"),
    ]),
    "processes": ("processes", [
        ("round trip of an empty call", "round trip"),
        ("empty calls submitted one by one", "one by one"),
        ("map, chunks of 100, per item", "map in chunks of 100"),
        ("echo of 1 MiB", "echo of 1 MiB"),
        ("echo of 64 MiB", "echo of 64 MiB"),
        ("pool up to the first result, holding 0 GiB", "first result"),
        ("a call kills its worker: caller told", "told of a death"),
    ]),
    "mpi": ("mpi", [
        ("round trip of an empty call, p50", "round trip"),
        ("empty calls, two at a time with each rank", "two at a time"),
        ("empty calls", "empty calls"),
        ("map, chunks of 1000, per item", "map in chunks of 1,000"),
        ("echo of 1 MiB, one at a time", "echo of 1 MiB"),
        ("echo of 1 MiB, eight at a time", "eight at a time"),
        ("echo of 16 MiB, eight at a time", "16 MiB, eight at a time"),
    ]),
    "sched": ("sched", [
        ("enter 1000 at random times, run all", "enter and run 1,000"),
        ("enter 1000000 at random times, run all", "enter and run 1,000,000"),
        ("run the next, enter one, 1000 pending", "run one, enter one; 1,000 pending"),
        ("run the next, enter one, 1000000 pending", "the same, 1,000,000"),
        ("cancel half of 1000 at random", "cancel half of 1,000"),
        ("cancel half of 1000000 at random", "cancel half of 1,000,000"),
    ]),
}

# The picture: a title, the file, the group, and the peers.
BARS = [
    ("a million calls on threads: submit, take the results", "threads",
     "submit 1000000 calls, take all results, 2 workers",
     ["crossbeam-channel + oneshot", "rayon + oneshot", "Java ThreadPoolExecutor", "CPython ThreadPoolExecutor"]),
    ("results as they are completed", "threads",
     "take 100000 results in the order in which they end, 2 workers",
     ["crossbeam-channel + oneshot", "tokio spawn", "CPython ThreadPoolExecutor"]),
    ("a tree of calls that wait for their children", "threads",
     "tree of calls with 2^18 leaves, 2 workers",
     ["rayon + oneshot", "Java ForkJoinPool", "CPython ThreadPoolExecutor"]),
    ("round trip to a worker process", "processes", "round trip of an empty call",
     ["procspawn", "CPython", "loky"]),
    ("map over worker processes, in chunks", "processes", "map, chunks of 100, per item",
     ["procspawn", "CPython", "loky"]),
    ("the next event run, one entered; 1,000 pending", "sched",
     "run the next, enter one, 1000 pending",
     ["std BinaryHeap + tombstones", "tokio-util DelayQueue", "CPython sched"]),
]


def figures(name):
    """The times of a file, as multiples of ours: {group: {peer: ratio}}."""
    lines = (DOCS / f"{name}.csv").read_text().splitlines()
    groups = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        # How a peer was used is told in the page, not in its name.
        peer = re.sub(r" \((small|200 at a time)\)| by hand|, ByteBuf", "", row["name"])
        groups.setdefault(row["group"], {})[peer] = float(row["ratio"])
    return groups


def shown(ratio):
    """Two digits: 0.28, 3.2, 18, 110,000."""
    digits = 2 if ratio < 1 else 1 if ratio < 9.95 else 0
    if ratio >= 100:
        scale = 10 ** (len(str(int(ratio))) - 2)
        ratio = round(ratio / scale) * scale
    return f"{ratio:,.{digits}f}"


def table(name):
    groups = figures(TABLES[name][0])
    columns = [(groups[group], head) for group, head in TABLES[name][1]]
    peers = list(dict.fromkeys(peer for column, _ in columns for peer in column))
    # Ours is what the others are measured by.
    peers = [peer for peer in peers if not peer.startswith("concurrent")]
    lines = ["| | " + " | ".join(head for _, head in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for peer in peers:
        cells = [shown(column[peer]) if peer in column else "" for column, _ in columns]
        cells = [f"**{cell}**" if cell and column[peer] < 0.995 else cell
                 for cell, (column, _) in zip(cells, columns)]
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page():
    text = PAGE.read_text()
    for name in TABLES:
        marked = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(marked, lambda m: m[1] + "\n" + table(name) + "\n" + m[2], text, flags=re.S)
        assert count == 1, f"{PAGE}: no place for {name}"
    return text


def picture():
    from math import log10
    left, unit, bar, gap = 232, 120, 13, 12
    y, parts = 54, []

    def x(ratio):
        return left + 8 + unit * log10(max(ratio / 0.15, 1))

    for title, file, group, peers in BARS:
        ratios = figures(file)[group]
        parts.append(f'<text class="title" x="16" y="{y}">{title}</text>')
        y += 8
        for peer in ["concurrent", *peers]:
            ratio = ratios[peer]
            kind = "ours" if peer == "concurrent" else "theirs"
            begin, end = x(0.15), x(ratio)
            name = "this crate" if kind == "ours" else peer
            parts.append(f'<text class="name" x="{left}" y="{y + 11}">{name}</text>')
            parts.append(f'<rect class="{kind}" x="{begin:.0f}" y="{y + 1}" width="{end - begin:.0f}" height="{bar - 2}"/>')
            parts.append(f'<text class="figure" x="{end + 5:.0f}" y="{y + 11}">{shown(ratio)}</text>')
            y += bar + 2
        y += gap + 10
    for ratio, label in [(1, "1"), (10, "10"), (100, "100")]:
        parts.insert(0, f'<line x1="{x(ratio):.0f}" y1="40" x2="{x(ratio):.0f}" y2="{y - 16}"/>')
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {y}" width="720" height="{y}" role="img">
<title>Time taken, as multiples of this crate's</title>
<style>
  text {{ font: 12px system-ui, sans-serif; fill: #24292f; }}
  .title {{ font-weight: 600; }} .name {{ text-anchor: end; }} .figure, .head {{ fill: #57606a; }}
  .ours {{ fill: #b7410e; }} .theirs {{ fill: #8c959f; }} line {{ stroke: #d0d7de; }} .back {{ fill: #ffffff; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }} .figure, .head {{ fill: #9198a1; }} .ours {{ fill: #f0883e; }}
    .theirs {{ fill: #656c76; }} line {{ stroke: #3d444d; }} .back {{ fill: #0d1117; }}
  }}
</style>
<rect class="back" width="720" height="{y}"/>
<text class="head" x="16" y="24">time taken, as multiples of this crate's; shorter is faster, the scale is logarithmic; 2 workers, 2 processors</text>
{chr(10).join(parts)}
</svg>
"""


def main():
    wanted = {PAGE: page(), DOCS / "speed.svg": picture()}
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is not what the figures say: python3 docs/speed.py")
        sys.exit(bool(stale))
    for path, text in wanted.items():
        path.write_text(text)


main()
