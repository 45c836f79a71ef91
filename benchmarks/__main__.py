"""`./bench`: runs the cases, prints the figures, writes JSON and a picture."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

from benchmarks import machine, measure, picture, report
from benchmarks.bars import bars
from benchmarks.cases import CASES, Case, chosen
from benchmarks.changes import ChangesContest
from benchmarks.contest import Contest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__.split(": ", 1)[1],
                                     epilog="cases: " + "; ".join(f"{case.name} ({case.title})" for case in CASES))
    parser.add_argument("--quick", action="store_true", help="fewer rows and runs, in a few minutes")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case; may be repeated")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each contestant (default: 5, with --quick 2)")
    parser.add_argument("--rows", type=int, metavar="N", help="at most so many rows of a table; no bar is judged then")
    parser.add_argument("--peers", default="all", metavar="NAMES", help="`all`, `none`, or names with commas between")
    parser.add_argument("--output", default=os.path.join(ROOT, "target", "bench"), metavar="FOLDER",
                        help="where results.json and results.svg are written")
    parser.add_argument("--draw", metavar="JSON", help="only draw the picture and print the tables of an earlier results.json")
    parser.add_argument("--document", action="store_true", help="write the figures and the picture into docs/benchmarks.md too")
    parser.add_argument("--host", metavar="FILE", help="a built host instead of one built now")
    parser.add_argument("--fake-sqlserver", metavar="FILE", help="a built fake-sqlserver instead of one built now")
    parser.add_argument("--paths", metavar="FILE", help="a built bench-paths instead of one built now")
    return parser.parse_args()


def peers(case: Case, wanted: str) -> list[str]:
    if wanted == "all":
        return list(case.peers)
    names = [] if wanted == "none" else wanted.split(",")
    known = {peer for each in CASES for peer in each.peers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"error: there is no peer `{unknown[0]}`\nhint: one of {', '.join(sorted(known))}")
    return [name for name in case.peers if name in names]


def main() -> int:
    options = arguments()
    os.makedirs(options.output, exist_ok=True)
    if options.draw:
        with open(options.draw) as file:
            results = json.load(file)
    else:
        results = run(options)
    with open(os.path.join(options.output, "results.svg"), "w") as file:
        file.write(picture.draw(results))
    if options.document:
        document(results)
    print(report.text(results))
    print(f"written: {options.output}/results.json, results.svg")
    wrong = [name for case in results["cases"].values() for name, figures in case["contestants"].items() if "error" in figures]
    return 1 if wrong else 0


def document(results: dict) -> None:
    """Puts the figures between the marks of docs/benchmarks.md, and the picture beside it."""
    path = os.path.join(ROOT, "docs", "benchmarks.md")
    with open(path) as file:
        page = file.read()
    with open(path, "w") as file:
        file.write(report.between_marks(page, report.markdown(results)))
    with open(os.path.join(ROOT, "docs", "benchmarks.svg"), "w") as file:
        file.write(picture.draw(results))


def run(options: argparse.Namespace) -> dict:
    cases = chosen(options.case, options.quick)
    folder = tempfile.mkdtemp(prefix="datakit-bench-", dir=os.environ.get("BENCH_SCRATCH"))
    results = {"machine": machine.describe(), "quick": options.quick, "profile": os.path.basename(os.path.dirname(os.path.abspath(options.host))), "cases": {}}
    try:
        for case in cases:
            report.say(f"{case.name}: {case.title}")
            runs = options.runs or (2 if options.quick else 5)
            runs = max(case.least_runs, min(runs, case.most_runs))
            contest = (ChangesContest if case.changes else Contest)(case, folder, options, ROOT, peers(case, options.peers))
            try:
                results["cases"][case.name] = contest.run(runs)
            finally:
                contest.close()
            # What few rows cost says nothing about a bar.
            results["bars"] = [] if options.rows else [{**vars(bar), "met": bar.met} for bar in bars(results["cases"])]
            # After each case, so that an hour is not lost with its last minute.
            keep(results, options.output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def keep(results: dict, folder: str) -> None:
    path = os.path.join(folder, "results.json")
    with open(path + ".new", "w") as file:
        json.dump(results, file, indent=1)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (measure.Failed, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
