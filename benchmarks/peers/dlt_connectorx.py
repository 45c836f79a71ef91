"""dlt with its connectorx backend."""

import dlt_pipeline

dlt_pipeline.run("connectorx")
