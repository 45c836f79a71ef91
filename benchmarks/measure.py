"""Runs a command and says what it cost: wall seconds, its own processor seconds, its peak memory."""

import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass


class Failed(Exception):
    """A command that did not end well, with the end of what it said."""


@dataclass(frozen=True)
class Run:
    """One run of one command. Memory is the largest resident set, as the kernel counted it."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    # What the program itself says it took, without the start of its interpreter and its imports; none if it does not say.
    inside_seconds: float | None
    rows: int | None
    # What the program says of the part that is compared, without its own preparations; none if it does not say.
    inside_cpu_seconds: float | None = None
    call_microseconds: float | None = None


def run(command: list[str], environment: dict[str, str], directory: str) -> Run:
    """Runs a command to its end. Servers are not its children, so their work is not in its figures.

    The kernel hands the peak of the parent on to a child, so this program stays small: nothing beyond the standard library.
    """
    with open(os.path.join(directory, "stdout"), "w+b") as out, open(os.path.join(directory, "stderr"), "w+b") as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=directory)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said, complaint = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if child.returncode != 0:
        raise Failed(f"{' '.join(command)}\nended with {child.returncode}:\n{said[-2000:]}\n{complaint[-4000:]}")
    told = own_figures(said)
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, told.get("seconds"), told.get("rows"),
               told.get("cpu_seconds"), told.get("call_microseconds"))


def own_figures(said: str) -> dict:
    """The JSON a program prints: the host's summary is the whole output, a peer's figures are its last line."""
    said = said.strip()
    for text in (said, said.rsplit("\n", 1)[-1]):
        try:
            told = json.loads(text)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    return {}


def summary(runs: list[Run]) -> dict:
    """Medians over runs; the peak of memory is the largest."""

    def median(key: str) -> float | None:
        said = [value for run in runs if (value := getattr(run, key)) is not None]
        return statistics.median(said) if said else None

    return {
        "wall_seconds": median("wall_seconds"),
        "cpu_seconds": median("cpu_seconds"),
        "inside_seconds": median("inside_seconds"),
        "inside_cpu_seconds": median("inside_cpu_seconds"),
        "call_microseconds": median("call_microseconds"),
        "peak_bytes": max(r.peak_bytes for r in runs),
        "rows": runs[0].rows,
        "runs": [asdict(r) for r in runs],
    }
