"""The picture: wall seconds of every contestant, a block a case, as SVG. Written from the JSON alone."""

from xml.sax.saxutils import escape

from benchmarks.cases import OWN, PATHS

WIDTH, LABEL, BAR, ROW, GAP = 760, 190, 430, 20, 34
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .value { fill: #57606a }
.own { fill: #1f6feb } .peer { fill: #afb8c1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .value { fill: #8d96a0 } .own { fill: #58a6ff } .peer { fill: #484f58 } }
"""


def draw(results: dict) -> str:
    body, top = [], 12
    for case in results["cases"].values():
        ended = {name: f for name, f in case["contestants"].items() if "wall_seconds" in f}
        # The ways of one batch differ by hundredths: figures tell them, not lengths.
        if len(ended) < 2 or ended.keys() & PATHS.keys():
            continue
        # One slow contestant must not make hair lines of all the others.
        longest = max(figures["wall_seconds"] for figures in ended.values())
        shortest = min(figures["wall_seconds"] for figures in ended.values())
        scale = BAR / min(longest, shortest * 15)
        body.append(f'<text class="title" x="0" y="{top + 12}">{escape(case["title"])}, {case["rows"]:,} rows: seconds</text>')
        top += 22
        for name, figures in sorted(ended.items(), key=lambda item: item[1]["wall_seconds"]):
            wall = figures["wall_seconds"]
            length = min(BAR, wall * scale)
            kind = "own" if name in OWN else "peer"
            cut = " (bar cut)" if wall * scale > BAR + 0.5 else ""
            body.append(f'<text x="{LABEL - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
            body.append(f'<rect class="{kind}" x="{LABEL}" y="{top + 2}" width="{max(length, 1):.1f}" height="{ROW - 5}" rx="2"/>')
            memory = f"{figures['peak_bytes'] / 1e6:.0f} MB"
            body.append(f'<text class="value" x="{LABEL + length + 6:.1f}" y="{top + 13}">{wall:.2f} s, {memory}{cut}</text>')
            top += ROW
        top += GAP - ROW + 4
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *body, "</svg>\n"])
