"""What the figures must reach on a machine of two cores, and whether they do."""

from dataclasses import dataclass

from benchmarks.cases import (BOUNDARY, DATAKIT, DECODE, DELTALAKE_INCREMENTAL, HOST, HOST_HASH, HOST_LOGICAL, HOST_PSQL, HOST_TLS, NATIVE, OWN, PSQL,
                              THROUGH_GUEST)

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Bar:
    """A figure and its bound."""

    text: str
    bound: float
    value: float | None
    at_least: bool
    unit: str

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def fastest(case: dict, without: tuple[str, ...] = ()) -> dict | None:
    """The fastest peer of a case that ended well."""
    own = {*OWN, *without}
    peers = [figures for name, figures in case["contestants"].items() if name not in own and "wall_seconds" in figures]
    return min(peers, key=lambda figures: figures["wall_seconds"], default=None)


def bars(cases: dict[str, dict]) -> list[Bar]:
    """All bars; one whose case did not run has no value."""

    def figure(case: str, contestant: str, key: str) -> float | None:
        return cases.get(case, {}).get("contestants", {}).get(contestant, {}).get(key)

    def ratio(above: float | None, below: float | None) -> float | None:
        return above / below if above is not None and below else None

    def over_best(case: str, contestant: str) -> float | None:
        best = fastest(cases[case]) if case in cases else None
        return ratio(best and best["wall_seconds"], figure(case, contestant, "wall_seconds"))

    # A bound on one million rows means nothing over another number of them.
    million = cases.get("orders", {}).get("rows") == 1_000_000
    cpu = {name: figure("orders", name, "cpu_seconds") if million else None for name in (HOST, HOST_HASH)}
    # The most of all cases is known when those that hold the most have run.
    whole = {"orders", "wide", "text", "small", "big", "sink", "postgres"} <= cases.keys()
    peaks = [figures["peak_bytes"] for case in cases.values() for name, figures in case["contestants"].items()
             if name in OWN and "peak_bytes" in figures]
    empty, small = figure("empty", HOST, "cpu_seconds"), figure("small", HOST, "cpu_seconds")
    per_table = (small - (empty or 0.0)) / cases["small"]["tables"] * 1000 if small is not None else None
    loop = figure("orders", "pandas_pyodbc", "wall_seconds")

    def of_native(contestant: str) -> float | None:
        return ratio(figure("paths", contestant, "inside_cpu_seconds"), figure("paths", NATIVE, "inside_cpu_seconds"))

    def merged(case: str) -> float | None:
        return ratio(figure(case, DELTALAKE_INCREMENTAL, "wall_seconds"), figure(case, HOST, "wall_seconds"))

    merge_peak = figure("merge", HOST, "peak_bytes")
    decode_rate = ratio(cases.get("paths", {}).get("rows"), figure("paths", DECODE, "inside_cpu_seconds"))
    return [
        Bar("decode of 11 columns to Arrow, rows a processor second", 2_000_000, decode_rate, True, "rows/s"),
        Bar("1M × 11 → Delta, hash off: processor time", 1.15, cpu[HOST], False, "s"),
        Bar("the same: wall against the best peer", 2.5, over_best("orders", HOST), True, "×"),
        Bar("1M × 11 → Delta, hash on: processor time", 1.65, cpu[HOST_HASH], False, "s"),
        Bar("the same: wall against the best peer", 1.8, over_best("orders", HOST_HASH), True, "×"),
        Bar("hash on: wall against the pandas + pyodbc loop", 15, ratio(loop, figure("orders", HOST_HASH, "wall_seconds")), True, "×"),
        Bar("through the datakit against the same done natively: processor time", 1.02, of_native(DATAKIT), False, "×"),
        Bar("a call across the boundary: processor time", 20, figure("paths", BOUNDARY, "call_microseconds"), False, "µs"),
        Bar("every row through the guest as Arrow, against native: processor time", 1.35, of_native(THROUGH_GUEST), False, "×"),
        Bar("peak memory of every case", 150, max(peaks) / MEGABYTE if whole and peaks else None, False, "MB"),
        Bar("cached datakit, empty table: processor time", 60, empty * 1000 if empty is not None else None, False, "ms"),
        Bar("500 small tables: processor time a table beyond start-up", 5, per_table, False, "ms"),
        Bar("Postgres sink against psql \\copy", 0.9,
            ratio(figure("sink", PSQL, "wall_seconds"), figure("sink", HOST_PSQL, "wall_seconds")), True, "×"),
        Bar("Postgres source → Delta against the best peer", 2, over_best("postgres", HOST), True, "×"),
        Bar("1,000 changed rows of 10 million, by a watermark: processor time", 0.2, figure("changes", HOST, "cpu_seconds"), False, "s"),
        Bar("the same by logical decoding", 0.2, figure("changes", HOST_LOGICAL, "cpu_seconds"), False, "s"),
        Bar("merge of 1,000 rows into 10 million: peak memory", 300, merge_peak and merge_peak / MEGABYTE, False, "MB"),
        Bar("the same, keys of all parts: wall against deltalake's merge", 1, merged("merge"), True, "×"),
        Bar("the same, keys of one part", 1, merged("merge_near"), True, "×"),
        Bar("TLS on instead of off: wall", 1.15, ratio(figure("orders", HOST_TLS, "wall_seconds"), figure("orders", HOST, "wall_seconds")), False, "×"),
    ]
