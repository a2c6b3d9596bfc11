"""The kinds of text that end up on the wire or name a secret: header and cookie names, media types, URLs, subjects.

What is checked here is what could do harm further on: a line break in a media type would end up in a response's head,
`..` in a secret's key would leave the folder of secrets.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from plimsoll.core.subjects import name_parts
from plimsoll.spec.values import shown

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")  # RFC 9110, 5.6.2; a cookie's name is one too
_MEDIA = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf'{_MEDIA}/{_MEDIA}([ ]?;[ ]?[A-Za-z0-9_-]+=([A-Za-z0-9._+-]+|"[^"\\\x00-\x1f\x7f]*"))*\Z')
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_SECRET_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}\Z")
_SAN = re.compile(r"(DNS:[A-Za-z0-9*]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|URI:[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,1024})\Z")
_URL = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:[0-9]{1,5})?([/?][!-~]*)?\Z"
)
LEAST_RATE, MOST_RATE = 0.001, 1e9


def _check_token(value: str) -> str:
    if not _TOKEN.match(value):
        raise ValueError(f"{shown(value)} is no name of a header or a cookie; expected letters, digits, '-' and '_'")
    return value


def _check_media_type(value: str) -> str:
    if len(value) > 256 or not _MEDIA_TYPE.match(value):
        raise ValueError(f"{shown(value)} is no media type; expected one such as application/json or text/plain")
    return value


def _check_secret_name(value: str) -> str:
    if not _SECRET_NAME.match(value):
        raise ValueError(
            f"{shown(value)} is no name of a secret; expected lower-case letters, digits, '-' and '.', with a letter "
            "or digit at both ends"
        )
    return value


def _check_secret_key(value: str) -> str:
    if not _SECRET_KEY.match(value) or value == "." or value.startswith(".."):
        raise ValueError(f"{shown(value)} is no key of a secret; expected letters, digits, '-', '_' and '.'")
    return value


def _check_jwks_uri(value: str) -> str:
    """https, since whoever can change the keys on their way can be any tenant; http where nobody is on the way."""
    url = _URL.match(value)
    if url is None or len(value) > 2048 or "#" in value:
        raise ValueError(f"{shown(value)} is no URL; expected one such as https://id.example.com/keys")
    if url[1] == "http" and not _loopback(url[2].strip("[]")):
        raise ValueError("http lets anybody on the way change the keys; expected https (http only on this machine)")
    return value


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_subject(value: str) -> str:
    if len(value) <= 2048 and (_SAN.match(value) or name_parts(value)):
        return value
    raise ValueError(
        f"{shown(value)} is no subject; expected a name such as CN=checkout,O=Shop, or DNS:… or URI:… of the "
        "certificate's alternative names"
    )


def _number(least: float, most: float) -> Callable[[object], object]:
    def check(value: object) -> object:
        expected = f"expected a number from {least:g} to {most:,.0f}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{expected}, not {str(value).lower() if isinstance(value, bool) else shown(value)}")
        if not least <= value <= most:
            raise ValueError(f"{value} is out of range; {expected}")
        return value

    return check


LEAST_WEIGHT, MOST_WEIGHT = 0.01, 1000.0  # of one tenant; a queue's round stays short between any two of them

Token = Annotated[
    str,
    AfterValidator(_check_token),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "maxLength": 128}),
]
MediaType = Annotated[str, AfterValidator(_check_media_type), WithJsonSchema({"type": "string", "maxLength": 256})]
SecretName = Annotated[
    str,
    AfterValidator(_check_secret_name),
    WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}),
]
SecretKey = Annotated[
    str,
    AfterValidator(_check_secret_key),
    WithJsonSchema({"type": "string", "pattern": r"^[-._A-Za-z0-9]+$", "maxLength": 253}),
]
JwksUri = Annotated[str, AfterValidator(_check_jwks_uri), WithJsonSchema({"type": "string", "maxLength": 2048})]
Subject = Annotated[str, AfterValidator(_check_subject), WithJsonSchema({"type": "string", "maxLength": 2048})]
# As written, 500 or 0.5. A float field would give back 500.0.
Rate = Annotated[
    int | float,
    PlainValidator(_number(LEAST_RATE, MOST_RATE)),
    WithJsonSchema({"type": "number", "minimum": LEAST_RATE, "maximum": MOST_RATE}),
]
Weight = Annotated[
    int | float,
    PlainValidator(_number(LEAST_WEIGHT, MOST_WEIGHT)),
    WithJsonSchema({"type": "number", "minimum": LEAST_WEIGHT, "maximum": MOST_WEIGHT}),
]
