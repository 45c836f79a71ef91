"""dlt with its pyarrow backend."""

import dlt_pipeline

dlt_pipeline.run("pyarrow")
