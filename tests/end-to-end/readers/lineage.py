"""Reads events of OpenLineage with the project's own client: a field or facet that the specification does not know is an error.

    lineage.py FILE        a line an event; prints a line of JSON each, with what a test looks at
"""

import importlib
import inspect
import json
import pkgutil
import sys

import attr
from openlineage.client import event_v2, generated
from openlineage.client.generated import column_lineage_dataset, data_quality_assertions_dataset, parent_run, schema_dataset

# Facets by their names in a document, and the classes of what is nested in them.
NESTED = {
    "parent": {"run": parent_run.Run, "job": parent_run.Job},
    "schema": {"fields": [schema_dataset.SchemaDatasetFacetFields]},
    "columnLineage": {"fields": {"*": column_lineage_dataset.Fields}},
    "dataQualityAssertions": {"assertions": [data_quality_assertions_dataset.Assertion]},
}


def facet_classes() -> dict[str, type]:
    """Every facet of the client, by the URL of its schema."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for _, made in inspect.getmembers(importlib.import_module(f"{generated.__name__}.{module.name}"), inspect.isclass):
            if attr.has(made) and hasattr(made, "_get_schema"):
                found[made._get_schema()] = made
    return found


FACETS = facet_classes()


def build(made: type, content: dict):
    return made(**content)


def nested(kind, content):
    if isinstance(kind, list):
        return [build(kind[0], each) for each in content]
    if isinstance(kind, dict):
        return {name: build(kind["*"], each) for name, each in content.items()}
    return build(kind, content)


def facets(documents: dict) -> dict:
    """Facets of the classes that their schemas name; an unknown schema is a KeyError, an unknown field a TypeError."""
    made = {}
    for name, document in documents.items():
        content = {key: value for key, value in document.items() if not key.startswith("_")}
        for key, kind in NESTED.get(name, {}).items():
            content[key] = nested(kind, content[key])
        made[name] = FACETS[document["_schemaURL"]](**content)
    return made


def event(document: dict) -> event_v2.RunEvent:
    assert FACETS[document.pop("schemaURL")] is event_v2.RunEvent
    document["eventType"] = event_v2.RunState(document["eventType"])
    document["run"] = event_v2.Run(document["run"]["runId"], facets(document["run"]["facets"]))
    document["job"] = event_v2.Job(**(document["job"] | {"facets": facets(document["job"]["facets"])}))
    for key, made, own in [("inputs", event_v2.InputDataset, "inputFacets"), ("outputs", event_v2.OutputDataset, "outputFacets")]:
        document[key] = [made(**(each | {"facets": facets(each["facets"]), own: facets(each[own])})) for each in document[key]]
    return event_v2.RunEvent(**document)


def shown(made: event_v2.RunEvent) -> dict:
    lineage = {name: [field["field"] if isinstance(field, dict) else field.field for field in fields.inputFields]
               for output in made.outputs if "columnLineage" in output.facets for name, fields in output.facets["columnLineage"].fields.items()}
    return {
        "step": made.eventType.value, "job": f"{made.job.namespace} {made.job.name}", "run": made.run.runId,
        "parent": made.run.facets["parent"].run.runId if "parent" in made.run.facets else None,
        "error": made.run.facets["errorMessage"].message if "errorMessage" in made.run.facets else None,
        "inputs": [f"{each.namespace} {each.name}" for each in made.inputs],
        "outputs": [f"{each.namespace} {each.name}" for each in made.outputs],
        "rows": [each.outputFacets["outputStatistics"].rowCount for each in made.outputs],
        "columns": [field.name for each in made.outputs if "schema" in each.facets for field in each.facets["schema"].fields],
        "lineage": lineage,
    }


with open(sys.argv[1]) as lines:
    for line in lines:
        print(json.dumps(shown(event(json.loads(line)))))
