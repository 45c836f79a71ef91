"""Reads requests of OTLP with the messages that OpenTelemetry publishes: a line of JSON a span.

    spans.py FILE…         each file is the body of one request
"""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def plain(value) -> object:
    return getattr(value, value.WhichOneof("value"))


def attributes(pairs) -> dict:
    return {pair.key: plain(pair.value) for pair in pairs}


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        request = ExportTraceServiceRequest.FromString(file.read())
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                print(json.dumps({
                    "name": span.name, "id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "trace": span.trace_id.hex(),
                    "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano, "status": span.status.code, "events": len(span.events),
                    "service": attributes(resource.resource.attributes)["service.name"], "attributes": attributes(span.attributes),
                }))
