"""Checks of the benchmark itself, without servers and without time: `python3 -m unittest benchmarks.test_benchmarks`."""

import compileall
import json
import os
import resource
import sys
import tempfile
import unittest
from xml.etree import ElementTree

from benchmarks import bars, cases, measure, picture, report
from benchmarks.peers import shapes

HERE = os.path.dirname(os.path.abspath(__file__))


def figures(wall: float, cpu: float = 1.0, peak: int = 100_000_000) -> dict:
    return {"wall_seconds": wall, "cpu_seconds": cpu, "inside_seconds": wall, "peak_bytes": peak, "rows": 1, "runs": []}


def results(contestants: dict, name: str = "orders") -> dict:
    measured = {name: {"title": "11 columns", "tables": 1, "rows": 1_000_000, "checksum": "0", "contestants": contestants}}
    machine = {"processor": "p", "processors": 2, "memory_gib": 23, "kernel": "6", "python": "3", "commit": "c"}
    return {"machine": machine, "quick": False, "profile": "release", "cases": measured, "bars": [{**vars(bar), "met": bar.met} for bar in bars.bars(measured)]}


class Programs(unittest.TestCase):
    def test_every_peer_has_a_program_and_all_parse(self):
        for case in cases.CASES:
            for peer in case.peers:
                if peer != cases.PSQL:
                    self.assertTrue(os.path.exists(os.path.join(HERE, "peers", f"{peer}.py")), peer)
        with tempfile.TemporaryDirectory() as folder:
            before, sys.pycache_prefix = sys.pycache_prefix, folder
            try:
                self.assertTrue(compileall.compile_dir(HERE, quiet=1, force=True))
            finally:
                sys.pycache_prefix = before

    def test_quick_leaves_out_what_takes_long(self):
        self.assertNotIn("big", [case.name for case in cases.chosen([], quick=True)])
        self.assertEqual([case.name for case in cases.chosen(["big"], quick=True)], ["big"])
        with self.assertRaises(SystemExit):
            cases.chosen(["bigger"], quick=False)

    def test_tables_are_described_as_they_are_generated(self):
        counts = {"narrow": 4, "orders": 11, "wide": 120, "text": 3, "small_007": 11, "changes": 12, "merge_near": 12}
        self.assertEqual({name: len(shapes.columns(name)) for name in counts}, counts)
        self.assertEqual(len(next(c for c in cases.CASES if c.name == "small").table_names()), 500)


class Measuring(unittest.TestCase):
    def test_a_command_is_charged_what_it_used_and_nothing_else(self):
        # Both bounds are of the kernel's count of processor time, whatever else the machine does.
        work = "import json, resource\nn = 0\nwhile resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.2: n += 1\n"
        work += "print('noise'); print(json.dumps({'rows': 7, 'seconds': 0.5}))"
        with tempfile.TemporaryDirectory() as folder:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run = measure.run([sys.executable, "-c", work], dict(os.environ), folder)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertAlmostEqual(run.cpu_seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, places=3)
        self.assertGreaterEqual(run.cpu_seconds, 0.2)
        self.assertEqual((run.rows, run.inside_seconds), (7, 0.5))

    def test_peak_memory_is_the_commands_own(self):
        with tempfile.TemporaryDirectory() as folder:
            small = measure.run([sys.executable, "-c", "pass"], dict(os.environ), folder)
            large = measure.run([sys.executable, "-c", "b'x' * 300_000_000"], dict(os.environ), folder)
        self.assertGreater(large.peak_bytes, 300_000_000)
        self.assertLess(small.peak_bytes, 100_000_000)

    def test_a_command_that_fails_says_why(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(measure.Failed, "no such table"):
            measure.run([sys.executable, "-c", "raise SystemExit('no such table')"], dict(os.environ), folder)

    def test_the_hosts_summary_is_read_as_a_whole(self):
        self.assertEqual(measure.own_figures(json.dumps({"rows": 3, "seconds": 1.5}, indent=2))["seconds"], 1.5)
        self.assertEqual(measure.own_figures("no figures"), {})

    def test_medians_and_the_largest_peak(self):
        runs = [measure.Run(wall, 1.0, peak, None, 5) for wall, peak in [(3.0, 10), (1.0, 30), (2.0, 20)]]
        summary = measure.summary(runs)
        self.assertEqual((summary["wall_seconds"], summary["peak_bytes"], summary["inside_seconds"]), (2.0, 30, None))


class Judging(unittest.TestCase):
    def test_bars_are_met_or_not_by_their_direction(self):
        told = results({"host": figures(1.0, 1.1), "host, row hash": figures(1.5, 1.7), "host, TLS": figures(1.1),
                        "arrow_odbc_reader": figures(2.4), "pandas_pyodbc": figures(30.0)})
        verdicts = {bar["text"]: bar["met"] for bar in told["bars"]}
        self.assertTrue(verdicts["1M × 11 → Delta, hash off: processor time"])
        self.assertFalse(verdicts["1M × 11 → Delta, hash on: processor time"])
        self.assertEqual([bar["met"] for bar in told["bars"] if bar["text"] == "the same: wall against the best peer"], [False, False])
        self.assertTrue(verdicts["hash on: wall against the pandas + pyodbc loop"])
        self.assertIsNone(verdicts["Postgres sink against psql \\copy"])

    def test_the_ways_of_one_batch_are_held_against_the_native_one(self):
        ways = {name: figures(1.0) | {"inside_cpu_seconds": cpu} for name, cpu in
                [("decode alone", 0.4), ("native", 1.0), ("datakit", 1.01), ("rows through the guest", 1.4)]}
        told = results(ways | {"calls alone": figures(1.0) | {"call_microseconds": 3.0}}, "paths")
        verdicts = {bar["text"]: (bar["value"], bar["met"]) for bar in told["bars"] if bar["value"] is not None}
        self.assertNotIn("peak memory of every case", verdicts, "the cases that hold the most did not run")
        self.assertEqual(list(verdicts.values()), [(2_500_000, True), (1.01, True), (3.0, True), (1.4, False)])

    def test_a_peer_that_failed_is_no_best_peer(self):
        told = results({"host": figures(1.0), "connectorx_reader": {"error": "wrong rows"}, "arrow_odbc_reader": figures(2.0)})
        best = next(bar for bar in told["bars"] if bar["text"].startswith("the same"))
        self.assertEqual((best["value"], best["met"]), (2.0, False))

    def test_tables_and_picture_show_everyone(self):
        told = results({"host": figures(1.0, 2.0), "arrow_odbc_reader": figures(2.5), "dlt_pyarrow": {"error": "wrong rows"}})
        for text in (report.text(told), report.markdown(told)):
            for word in ("host", "arrow_odbc_reader", "2.50", "failed", "NOT met", "not measured"):
                self.assertIn(word, text)
        page = f"before {report.MARKS[0]} old {report.MARKS[1]} after"
        once = report.between_marks(page, "new")
        self.assertEqual(report.between_marks(once, "new"), once)
        self.assertTrue(once.startswith("before ") and once.endswith(" after") and "old" not in once)
        shown = "".join(ElementTree.fromstring(picture.draw(told)).itertext())
        self.assertIn("2.50 s", shown)
        self.assertNotIn("dlt_pyarrow", shown)


if __name__ == "__main__":
    unittest.main()
