"""dlt, by its incremental cursor."""

from dlt_pipeline import run_incremental

run_incremental()
