#!/usr/bin/env python3
"""Draws the pictures of the guide: each NAME.dot here to NAME.svg and NAME.md; and `docs/rooms.dot`.

The .md holds the same picture as the link definition `[NAME]: data:...`, which `src/guide.rs` puts
before the page that shows it, so that the documentation needs no other file. On a code host, where
the page is read by itself, the definition at its end counts, which names the .svg.

    python3 docs/guide/pictures/draw.py            # needs graphviz
    python3 docs/guide/pictures/draw.py trace.json # also timeline.svg, of a recording of `--features trace`
    python3 docs/guide/pictures/draw.py --check    # writes nothing: is each NAME.md its NAME.svg?
"""

import base64
import html
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent

# The colours of the pictures, and what stands for each on a dark ground. An image is shown as the reader's
# system is set, not as the page: so each picture has a ground of its own.
DARK = {
    "white": "#0d1117", "#ffffff": "#0d1117", "#f7f7f7": "#30363d", "#eef3fb": "#15243a", "#e7f5e9": "#12291a",
    "#fbeaea": "#331a1c", "#fdf6e3": "#2c260f", "#3b6ea5": "#6ca4dd", "#2e7d32": "#5fb865", "#b3403a": "#f0827b",
    "#9a7b1c": "#d6b24c", "#444444": "#b5bdc6", "#888888": "#767e87", "#bbb": "#484f58", "#dfe7f1": "#1d2c40",
}
STYLE = (
    "<style>@media (prefers-color-scheme:dark){text{fill:#e6edf3}"
    + "".join(
        f'[{what}="{light}"]{{{what}:{dark}}}' for light, dark in DARK.items() for what in ("fill", "stroke")
    )
    + ".on{fill:#1f2328}}</style>"
)


def definition(name, svg):
    return f"[{name}]: data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}\n"


def styled(svg):
    return re.sub(r"(<svg[^>]*>)", rf"\1{STYLE}", svg, count=1)


def keep(name, svg):
    (HERE / f"{name}.svg").write_text(styled(svg))
    (HERE / f"{name}.md").write_text(definition(name, styled(svg)))


def graph(source):
    svg = subprocess.run(
        ["dot", "-Tsvg", source], check=True, capture_output=True, text=True
    ).stdout
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->", "", svg, flags=re.DOTALL)
    return "\n".join(line for line in svg.splitlines() if line) + "\n"


def check():
    """The pictures whose .md is another one."""
    for svg in sorted(HERE.glob("*.svg")):
        if svg.with_suffix(".md").read_text() != definition(svg.stem, svg.read_text()):
            yield f"{svg.stem}.md is not {svg.name}: python3 docs/guide/pictures/draw.py"


WIDTH, ROW, LEFT = 860, 24, 90
COLOURS = ["#7aa6d8", "#8fc79a", "#e0b36a", "#c99bd1", "#d98b86", "#9aa5b1"]


def timeline(trace):
    """Tracks of threads from above, their slices nested downwards, the queue below."""
    events = json.loads(pathlib.Path(trace).read_text())["traceEvents"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    times = [e["ts"] for e in events if "ts" in e]
    begin, end = min(times), max(times)
    scale = (WIDTH - LEFT - 10) / (end - begin)
    colours, parts, top = {}, [], 10

    def x(ts):
        return round(LEFT + (ts - begin) * scale, 1)

    def text(x, y, words, extra=""):
        parts.append(f'<text x="{x}" y="{y}" {extra}>{html.escape(words)}</text>')

    def slice_(name, begun, ended, row, waits):
        if ended - begun < (end - begin) / WIDTH:
            return  # less than a pixel
        short = re.sub(r"\w+::", "", name)
        colour = "url(#waits)" if waits else colours.setdefault(short, COLOURS[len(colours) % 6])
        width = round((ended - begun) * scale, 1)
        title = f"{short}, {ended - begun:.0f} µs"
        parts.append(
            f'<rect x="{x(begun)}" y="{row}" width="{width}" height="{ROW - 3}" rx="2"'
            f' fill="{colour}" stroke="#444444"><title>{html.escape(title)}</title></rect>'
        )
        if width > 7 * len(short):
            text(x(begun) + 4, row + 15, short, "" if waits else 'class="on"')

    for tid, lane in sorted(lanes.items(), key=lambda lane: lane[1]):
        stack, deepest = [], 0
        text(6, top + 15, lane, 'font-weight="bold"')
        for e in (e for e in events if e.get("tid") == tid):
            if e["ph"] == "B":
                stack.append(e)
                deepest = max(deepest, len(stack))
            elif e["ph"] == "E" and stack:
                b = stack.pop()
                slice_(b["name"], b["ts"], e["ts"], top + len(stack) * ROW, b["cat"] == "wait")
        top += max(deepest, 1) * ROW + 12
    counts = [(e["ts"], e["args"]["calls"]) for e in events if e["ph"] == "C"]
    if counts:
        most = max(count for _, count in counts) or 1
        base, path = top + 40, f"M{LEFT},{top + 40}"
        for ts, count in counts:
            path += f"H{x(ts)}V{base - 36 * count / most:.1f}"
        parts.append(f'<path d="{path}H{x(end)}V{base}Z" fill="#dfe7f1" stroke="#3b6ea5"/>')
        text(6, base - 14, "queued calls", 'font-weight="bold"')
        text(WIDTH - 10, base - 26, f"at most {most}", 'text-anchor="end"')
        top = base + 6
    text(LEFT, top + 14, "0 ms")
    text(WIDTH - 10, top + 14, f"{(end - begin) / 1000:.0f} ms", 'text-anchor="end"')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 24}"'
        f' width="{WIDTH}" font-family="sans-serif" font-size="12">\n'
        '<defs><pattern id="waits" width="6" height="6" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="6" height="6" fill="#f7f7f7"/>'
        '<line x1="0" y1="0" x2="0" y2="6" stroke="#bbb" stroke-width="2"/></pattern></defs>\n'
        f'<rect width="{WIDTH}" height="{top + 24}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit("\n".join(check()) or None)
    for source in sorted(HERE.glob("*.dot")):
        keep(source.stem, graph(source))
    rooms = HERE.parent.parent / "rooms.dot"  # of a page that rustdoc does not have
    rooms.with_suffix(".svg").write_text(styled(graph(rooms)))
    for trace in sys.argv[1:]:
        keep("timeline", timeline(trace))
