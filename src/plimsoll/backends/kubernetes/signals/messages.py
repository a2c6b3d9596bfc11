"""The messages of KEDA's external scaler, described here instead of generated.

Their names and numbers are KEDA's documented interface (https://keda.sh/docs/latest/concepts/external-scalers/).
"""

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int64": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
}

# Of each message its fields in the order of their numbers, from 1: (name, type), `*` before what there are many of.
_MESSAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "ScaledObjectRef": (("name", "string"), ("namespace", "string"), ("scalerMetadata", "map")),
    "IsActiveResponse": (("result", "bool"),),
    "MetricSpec": (("metricName", "string"), ("targetSize", "int64"), ("targetSizeFloat", "double")),
    "GetMetricSpecResponse": (("metricSpecs", "*MetricSpec"),),
    "GetMetricsRequest": (("scaledObjectRef", "ScaledObjectRef"), ("metricName", "string")),
    "MetricValue": (("metricName", "string"), ("metricValue", "int64"), ("metricValueFloat", "double")),
    "GetMetricsResponse": (("metricValues", "*MetricValue"),),
}


class Messages(NamedTuple):
    """Classes, made once."""

    ScaledObjectRef: Any
    IsActiveResponse: Any
    MetricSpec: Any
    GetMetricSpecResponse: Any
    GetMetricsRequest: Any
    MetricValue: Any
    GetMetricsResponse: Any


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="plimsoll/externalscaler.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            _describe(message, field, kind, number)
    return file


def _describe(message: Any, field: str, kind: str, number: int) -> None:
    many = kind.startswith("*") or kind == "map"
    made = message.field.add(
        name=field, number=number, label=_Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL, json_name=field
    )
    if kind == "map":  # of strings to strings: on the wire a repeated message of key and value
        entry = message.nested_type.add(name=f"{field[0].upper()}{field[1:]}Entry")
        entry.options.map_entry = True
        for place, part in enumerate(("key", "value"), 1):
            entry.field.add(name=part, number=place, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
        made.type, made.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind in _TYPES:
        made.type = _TYPES[kind]
    else:
        made.type, made.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind.removeprefix('*')}"


def _classes() -> Messages:
    pool = descriptor_pool.DescriptorPool()  # our own: another library may describe the same
    pool.Add(_described())
    return Messages(
        *(message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in Messages._fields)
    )


MESSAGES = _classes()
