"""The tables a person reads."""

import sys

from benchmarks.bars import MEGABYTE
from benchmarks.cases import HOST, HOST_PSQL, NATIVE

HEADINGS = ("", "wall s", "× host", "inside s", "CPU s", "peak MB", "rows/s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rows_of(case: dict) -> list[tuple[str, ...]]:
    """A line a contestant, fastest first, those that failed last."""
    contestants = case["contestants"]
    base = contestants.get(HOST) or contestants.get(HOST_PSQL) or contestants.get(NATIVE) or {}
    lines = []
    for name, figures in sorted(contestants.items(), key=lambda item: item[1].get("wall_seconds", float("inf"))):
        if "error" in figures:
            lines.append((name, "failed", "", "", "", "", ""))
            continue
        wall = figures["wall_seconds"]
        ratio = f"{wall / base['wall_seconds']:.2f}" if "wall_seconds" in base else "–"
        inside = "–" if figures["inside_seconds"] is None else f"{figures['inside_seconds']:.3f}"
        rate = f"{case['rows'] / wall:,.0f}" if case["rows"] else "–"
        lines.append((name, f"{wall:.3f}", ratio, inside, f"{figures['cpu_seconds']:.3f}", f"{figures['peak_bytes'] / MEGABYTE:.0f}", rate))
    return lines


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def bar_line(bar: dict) -> tuple[str, str, str, str]:
    sign = "≥" if bar["at_least"] else "≤"
    value = "–" if bar["value"] is None else f"{figure(bar['value'])} {bar['unit']}"
    verdict = {True: "met", False: "NOT met", None: "not measured"}[bar["met"]]
    return bar["text"], f"{sign} {figure(bar['bound'])} {bar['unit']}", value, verdict


def aligned(lines: list[tuple[str, ...]], left: set[int]) -> str:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]

    def cell(at: int, text: str) -> str:
        return text.ljust(widths[at]) if at in left else text.rjust(widths[at])

    return "\n".join("  ".join(cell(at, text) for at, text in enumerate(line)).rstrip() for line in lines)


def text(results: dict) -> str:
    """Everything, for a terminal."""
    parts = []
    for name, case in results["cases"].items():
        parts.append(f"\n{name}: {case['title']}, {case['rows']:,} rows")
        parts.append(aligned([HEADINGS, *rows_of(case)], {0}))
    if results["bars"]:
        parts.append("\nbars")
        parts.append(aligned([("", "must", "is", ""), *map(bar_line, results["bars"])], {0, 3}))
    return "\n".join(parts)


MARKS = ("<!-- figures: written by ./bench --document -->", "<!-- end of figures -->")


def between_marks(page: str, figures: str) -> str:
    """The page with other figures."""
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{figures}\n{MARKS[1]}{after}"


def markdown(results: dict) -> str:
    """The same for docs/benchmarks.md."""
    machine = results["machine"]
    runs = max((len(f.get("runs", [])) for case in results["cases"].values() for f in case["contestants"].values()), default=0)
    parts = [f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
             f"Python {machine['python']}, commit {machine['commit']}, host built in the profile `{results['profile']}`, "
             f"{'`--quick`, ' if results['quick'] else ''}at most {runs} runs of a contestant.\n"]
    for name, case in results["cases"].items():
        parts.append(f"### `{name}`: {case['title']}, {case['rows']:,} rows\n")
        parts.append(markdown_table([HEADINGS, *rows_of(case)]))
    parts.append("### Bars\n")
    parts.append(markdown_table([("bar", "must", "is", ""), *map(bar_line, results["bars"])]))
    return "\n".join(parts)


def markdown_table(lines: list[tuple[str, ...]]) -> str:
    shown = ["| " + " | ".join(line) + " |" for line in lines]
    shown.insert(1, "|---" + "|---:" * (len(lines[0]) - 1) + "|")
    return "\n".join(shown) + "\n"
