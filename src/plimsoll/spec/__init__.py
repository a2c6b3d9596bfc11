"""The objects a user writes: parsing, defaults, checks, JSON schema. One `ModelService` a document.

`load_file` and `load_text` give services or raise `SpecErrors` with everything that is wrong, each problem with its
file, line and key. Reading a file is the only I/O here; nothing starts a process, opens a socket or reads a clock, and
nothing looks at the model behind `spec.model.path`.
"""

from plimsoll.core.errors import SpecErrors
from plimsoll.spec.honour import not_honoured
from plimsoll.spec.load import check_unique, load_file, load_files, load_text, read
from plimsoll.spec.origin import Origin
from plimsoll.spec.parts import (
    Batching,
    Budget,
    Latency,
    Limits,
    Metadata,
    ModelSource,
    Requests,
    Resources,
    Route,
    Runtime,
    Scaling,
    ServiceSpec,
)
from plimsoll.spec.schema import json_schema, schema_text
from plimsoll.spec.service import API_VERSION, ModelService

__all__ = [
    "API_VERSION",
    "Batching",
    "Budget",
    "Latency",
    "Limits",
    "Metadata",
    "ModelService",
    "ModelSource",
    "Origin",
    "Requests",
    "Resources",
    "Route",
    "Runtime",
    "Scaling",
    "ServiceSpec",
    "SpecErrors",
    "check_unique",
    "json_schema",
    "load_file",
    "load_files",
    "load_text",
    "not_honoured",
    "read",
    "schema_text",
]
