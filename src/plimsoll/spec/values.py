"""The kinds of text that fields hold: durations, quantities, shares, names. They stay text in the objects.

Each type checks on the way in and says what was expected; `core.units` turns it into a number where one is needed.
"""

import re
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plimsoll.core.units import parse_duration, parse_quantity, parse_share

_LONGEST_S = 365 * 86400.0  # a typo in the unit shows; and a float of seconds stays finite
_LARGEST_QUANTITY = 2.0**60
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\Z")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*\Z")
_RESERVED_PATHS = ("/v1", "/v2", "/metrics")
_NAME_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")

DURATION_PATTERN = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
SHARE_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def problem_at(at: tuple[str | int, ...], message: str) -> NoReturn:
    """Fails validation at a key below (or, through "..", beside) the field whose validator is running."""
    raise PydanticCustomError("at", "{message}", {"message": message, "at": at})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_duration(value: object) -> object:
    if _number(value) and value != 0:
        raise ValueError(f"{value} has no unit; write {value}ms or {value}s")
    if value == 0 and _number(value):
        return "0s"
    if isinstance(value, str) and parse_duration(value[:64]) > _LONGEST_S:
        raise ValueError(f"{value[:64]!r} is longer than a year; expected a duration such as 100ms, 1.5s or 10m")
    return _ascii(value, "duration such as 100ms, 1.5s or 10m")


def _ascii(value: object, what: str) -> object:
    if isinstance(value, str) and not (value.isascii() and len(value) <= 64):
        raise ValueError(f"{shown(value)} is no {what}")
    return value


def _check_positive(value: str) -> str:
    if parse_duration(value) <= 0:
        raise ValueError(f"{value!r} is no time at all; expected a duration above 0")
    return value


def _check_window(value: str) -> str:
    if parse_duration(value) < 1:
        raise ValueError(f"{value!r} is too short to count errors over; expected 1s or more")
    return value


def _check_quantity(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # Kubernetes takes `cpu: 1` for "1"
    if isinstance(value, float):
        raise ValueError(f'{value} needs quotes; write "{value}"')
    if isinstance(value, str):
        _ascii(value, "quantity such as 500m, 2 or 512Mi")
        if not 0 < parse_quantity(value) <= _LARGEST_QUANTITY:
            raise ValueError(f"{value!r} is out of range; expected more than 0, such as 500m, 2 or 512Mi")
    return value


def _check_memory(value: str) -> str:
    if parse_quantity(value) < 2**20:
        raise ValueError(f"{value!r} is less than one mebibyte; the unit is bytes: write 512Mi or 2Gi")
    return value


def _check_share(value: object) -> object:
    if _number(value):
        raise ValueError(f"{value} is not marked as a percentage; write {value}%")
    if isinstance(value, str):
        _ascii(value, "share such as 0.1%")
        parse_share(value)
    return value


def _check_label(value: str) -> str:
    if _LABEL.match(value):
        return value
    expected = "at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"
    better = re.sub(r"[^a-z0-9]+", "-", value[:63].lower()).strip("-")
    raise ValueError(f"{shown(value)} is no name; expected {expected}" + (f", such as {better}" if better else ""))


def _check_route(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{shown(value)} is not absolute; write {shown('/' + value)}")
    if "?" in value or "#" in value:
        raise ValueError(f"{shown(value)} has a query or a fragment; expected the path alone")
    for reserved in _RESERVED_PATHS:
        if value == reserved or value.startswith(f"{reserved}/"):
            raise ValueError(
                f"{shown(value)} is taken by the server's own protocols; expected a path outside {reserved}"
            )
    if not _PATH.match(value) or any(part in {".", ".."} for part in value.split("/")) or len(value) > 1024:
        raise ValueError(f"{shown(value)} is no URL path; expected percent-encoded ASCII without '.' or '..' segments")
    return value


def _check_host(value: str) -> str:
    if re.match(r"[^:]+:\d+\Z", value):
        raise ValueError(f"{shown(value)} has a port; write the host alone: {shown(value.rpartition(':')[0])}")
    if not _HOST.match(value) or len(value) > 253:
        raise ValueError(f"{shown(value)} is no host name; expected lower-case labels joined by dots: api.example.com")
    return value


def _check_requirement(value: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # 50 ms that a replica's start needn't take

    try:
        Requirement(value)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{shown(value)} is no requirement ({reason}); expected PEP 508: numpy>=2.0") from None
    return value


def _check_keys(values: dict[str, str]) -> dict[str, str]:
    for key in values:
        prefix, slash, name = key.rpartition("/")
        if not _NAME_PART.match(name) or (slash and not (_HOST.match(prefix) and len(prefix) <= 253)):
            problem_at(
                (key,), "no label key; expected letters, digits, '-', '_' and '.', after an optional domain and '/'"
            )
    return values


def _check_labels(values: dict[str, str]) -> dict[str, str]:
    for key, value in values.items():
        if value and not _NAME_PART.match(value):
            problem_at((key,), f"{shown(value)} is no label; expected up to 63 letters, digits, '-', '_' and '.'")
    return values


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
# Kubernetes' own form of IntOrString in a structural schema.
_QUANTITY_SCHEMA = WithJsonSchema(
    {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": True,
    }
)

Duration = Annotated[str, BeforeValidator(_check_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[str, BeforeValidator(_check_duration), AfterValidator(_check_positive), _DURATION_SCHEMA]
Window = Annotated[str, BeforeValidator(_check_duration), AfterValidator(_check_window), _DURATION_SCHEMA]
Cores = Annotated[str, BeforeValidator(_check_quantity), _QUANTITY_SCHEMA]
Memory = Annotated[str, BeforeValidator(_check_quantity), AfterValidator(_check_memory), _QUANTITY_SCHEMA]
Share = Annotated[
    str, BeforeValidator(_check_share), WithJsonSchema({"type": "string", "pattern": SHARE_PATTERN})
]  # fmt: skip
DnsLabel = Annotated[
    str,
    AfterValidator(_check_label),
    WithJsonSchema({"type": "string", "pattern": LABEL_PATTERN, "minLength": 1, "maxLength": 63}),
]
RoutePath = Annotated[
    str, AfterValidator(_check_route), WithJsonSchema({"type": "string", "pattern": "^/[^?#\\s]*$", "maxLength": 1024})
]
Host = Annotated[str, AfterValidator(_check_host), WithJsonSchema({"type": "string", "maxLength": 253})]
RequirementText = Annotated[str, AfterValidator(_check_requirement)]
Labels = Annotated[dict[str, str], AfterValidator(_check_keys), AfterValidator(_check_labels)]
Annotations = Annotated[dict[str, str], AfterValidator(_check_keys)]
