"""Where a model's artifact is, as a URI, and what its digest looks like. Looks at the text alone."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from plimsoll.spec.formats import Format, format_of_suffix, suffix_of
from plimsoll.spec.values import shown

SCHEMES = ("oci", "s3", "gs", "hf", "https", "http", "pvc", "configmap")
LATER = "registry"  # a name in a model registry, which leads to one of the others

_REST = r"[A-Za-z0-9._~!$&'()*+,;=:@%?/-]+"
URI_PATTERN = rf"^({'|'.join(SCHEMES)})://[A-Za-z0-9]{_REST}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

_HOST = r"[A-Za-z0-9.-]+(:[0-9]+)?"
_HEX = re.compile(r"sha256:[0-9a-f]{64}\Z")
_SHAPES = {
    "oci": (rf"{_HOST}(/[a-z0-9._-]+)+(:[A-Za-z0-9_.-]{{1,128}})?(@sha256:[0-9a-f]{{64}})?", "HOST/NAME:TAG"),
    "s3": (r"[a-z0-9][a-z0-9.-]*/.+", "BUCKET/KEY"),
    "gs": (r"[a-z0-9][a-z0-9._-]*/.+", "BUCKET/KEY"),
    "hf": (r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+)?(/.+)?", "OWNER/NAME@REVISION"),
    "https": (rf"{_HOST}/.+", "HOST/PATH"),
    "http": (rf"{_HOST}/.+", "HOST/PATH"),
    "pvc": (r"[a-z0-9][a-z0-9.-]*/.+", "CLAIM/PATH"),
    "configmap": (r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(/model[.]tar[.]gz)?", "NAME"),  # packed: with folders in it
}  # fmt: skip


def scheme_of(uri: str) -> str:
    return uri.partition("://")[0]


def guess_uri_format(uri: str) -> Format:
    """From the last name in the URI. Raises ValueError, saying what to write, where it doesn't tell: unlike a local
    path, a name without a suffix may be any folder."""
    path = uri.partition("://")[2].partition("?")[0].rstrip("/")
    suffix = "" if scheme_of(uri) in {"oci", "configmap"} else suffix_of(path)
    found = format_of_suffix(suffix)
    if found is None:
        raise ValueError("the format can't be told from the URI; add format: Python, ONNX or SKLearn")
    return found


def _check_uri(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator:
        raise ValueError(
            f"{shown(value)} is no URI; expected one such as oci://HOST/NAME:TAG (a local file is path: {value[:60]})"
        )
    if scheme == LATER:
        raise ValueError(f"{scheme}:// is not supported by this version yet; expected {_listed()}")
    if scheme not in _SHAPES:
        raise ValueError(f"{shown(scheme)} is no scheme known here; expected {_listed()}")
    pattern, shape = _SHAPES[scheme]
    if scheme in {"http", "https"} and "@" in rest.partition("/")[0]:
        raise ValueError("a password stands in a secret, never in a URI; write secretRef: {name: …} beside it")
    path = re.split(r"[/?]", rest)
    if len(value) > 2048 or not re.fullmatch(_REST, rest) or not re.fullmatch(pattern, rest) or ".." in path:
        raise ValueError(f"{shown(value)} is no URI of a model; expected {scheme}://{shape}")
    return value


def _check_digest(value: str) -> str:
    if not _HEX.match(value):
        raise ValueError(f"{shown(value)} is no digest; expected sha256: and 64 hex digits in lower case")
    return value


def _listed() -> str:
    return f"{', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"


Uri = Annotated[
    str,
    AfterValidator(_check_uri),
    WithJsonSchema({"type": "string", "pattern": URI_PATTERN, "minLength": 1, "maxLength": 2048}),
]
Digest = Annotated[
    str,
    AfterValidator(_check_digest),
    WithJsonSchema({"type": "string", "pattern": DIGEST_PATTERN, "maxLength": 71}),
]
