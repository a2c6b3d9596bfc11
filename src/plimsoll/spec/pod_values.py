"""The kinds of text that end up in pods: images, environment variables, resources, paths in a container."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from plimsoll.spec.values import shown

_IMAGE = re.compile(
    r"[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]{1,5}(?=/))?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(@sha256:[0-9a-f]{64})?\Z"
)
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}\Z")
_OURS = re.compile(r"(PLIMSOLL_.*|POD_NAME|POD_IP)\Z")
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_PART = re.compile(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})\Z")
_MOUNT = re.compile(r"/[A-Za-z0-9._/-]{0,1023}\Z")
_TAKEN = ("/model", "/etc/plimsoll", "/proc", "/sys", "/dev")

SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
RESOURCE_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"


def _check_image(value: str) -> str:
    if "://" in value:
        raise ValueError(f"{shown(value)} has a scheme; write {shown(value.partition('://')[2])}")
    if len(value) > 512 or not _IMAGE.match(value):
        raise ValueError(f"{shown(value)} is no image; expected one such as registry.example.com/mood:1.2")
    return value


def _check_env(value: str) -> str:
    if not _ENV.match(value):
        raise ValueError(f"{shown(value)} is no name of a variable; expected letters, digits and '_': LOG_LEVEL")
    if _OURS.match(value):
        raise ValueError(f"{value} is the server's own; expected another name")
    return value


def _check_resource(value: str) -> str:
    if not _RESOURCE.match(value):
        raise ValueError(f"{shown(value)} is no extended resource; expected one such as nvidia.com/gpu")
    return value


def _check_subdomain(value: str) -> str:
    if len(value) > 253 or not _SUBDOMAIN.match(value):
        raise ValueError(f"{shown(value)} is no name; expected lower-case letters, digits, '-' and '.'")
    return value


def _check_part(value: str) -> str:
    found = _PART.match(value)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{shown(value)} is no part of a whole; expected one such as 1/7")
    return value


def _check_mount(value: str) -> str:
    if not _MOUNT.match(value) or ".." in value.split("/") or value == "/":
        raise ValueError(f"{shown(value)} is no absolute path in a container; expected one such as /data")
    for taken in _TAKEN:
        if value == taken or value.startswith(f"{taken}/"):
            raise ValueError(f"{shown(value)} is taken by the server or the system; expected a path outside {taken}")
    return value


def _check_host_path(value: str) -> str:
    if not _MOUNT.match(value) or ".." in value.split("/") or value.count("/") < 2:
        raise ValueError(f"{shown(value)} is no folder of its own on a node; expected one such as /var/lib/plimsoll")
    return value


Image = Annotated[
    str, AfterValidator(_check_image), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 512})
]
EnvName = Annotated[
    str,
    AfterValidator(_check_env),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "minLength": 1, "maxLength": 256}),
]
ResourceName = Annotated[
    str,
    AfterValidator(_check_resource),
    WithJsonSchema({"type": "string", "pattern": RESOURCE_PATTERN, "maxLength": 317}),
]
Subdomain = Annotated[
    str,
    AfterValidator(_check_subdomain),
    WithJsonSchema({"type": "string", "pattern": SUBDOMAIN_PATTERN, "minLength": 1, "maxLength": 253}),
]
PartOfOne = Annotated[
    str,
    AfterValidator(_check_part),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,2}/[1-9][0-9]{0,2}$", "maxLength": 7}),
]
MountPath = Annotated[
    str,
    AfterValidator(_check_mount),
    WithJsonSchema({"type": "string", "pattern": "^/[A-Za-z0-9._/-]*$", "maxLength": 1024}),
]
HostPath = Annotated[
    str,
    AfterValidator(_check_host_path),
    WithJsonSchema({"type": "string", "pattern": "^/[A-Za-z0-9._/-]*$", "maxLength": 1024}),
]
