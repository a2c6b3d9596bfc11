"""The keys of a `ModelService` that its gateway acts on: who may ask, kept answers, what answers instead, sessions.

Where the fields that count depend on a `type`, there is one part with optional fields and checks per type: custom
resource definitions know no unions. A check runs where the field it is about is read, so the error names that key.
"""

import json
from typing import Annotated, Literal, NoReturn

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.spec.base import Part
from plimsoll.spec.values import DnsLabel, Memory, PositiveDuration, problem_at, shown
from plimsoll.spec.web_values import MediaType, SecretKey, SecretName, Token

MAX_STATIC = 65_536
_JSON = "application/json"


class SecretRef(Part):
    """One value of a secret. On a laptop the file secrets/NAME/KEY beside the service file."""

    name: SecretName = Field(description="The secret's name.")
    key: SecretKey = Field(description="The key in it.")


class Access(Part):
    """Who may ask."""

    anonymous: bool | None = Field(
        default=None,
        description="Whether a request without credentials is answered. Default: as long as there is no Tenant at all.",
    )


class CacheKey(Part):
    """What of a request must be the same for the same answer."""

    inputs: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(strict=False)] = Field(
        min_length=1, description="The inputs that count, by name; requests that differ in others share an answer."
    )

    @field_validator("inputs")
    @classmethod
    def _inputs_differ(cls, inputs: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(inputs):
            if name in inputs[:index]:
                problem_at((index,), f"{shown(name)} stands there twice; remove one")
        return inputs


class CacheBackend(Part):
    """Where answers are kept."""

    type: Literal["Memory", "Redis", "Memcached"] = Field(
        description="Memory: in each gateway's own; Redis and Memcached: shared by all gateways."
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        validate_default=True,
        description="The secret that holds the backend's URL: redis://…, rediss://… or memcached://…. Required for "
        "Redis and Memcached. Default: none, for Memory.",
    )

    @field_validator("secret_ref")
    @classmethod
    def _secret_fits_type(cls, ref: SecretRef | None, info: ValidationInfo) -> SecretRef | None:
        kind = info.data.get("type")
        if kind == "Memory" and ref is not None:
            raise ValueError("a cache in memory has no URL; remove secretRef, or write type: Redis or Memcached")
        if kind in {"Redis", "Memcached"} and ref is None:
            raise ValueError(f"missing; {kind} needs the secret that holds its URL: secretRef: {{name: …, key: …}}")
        return ref


class Cache(Part):
    """Answers kept for the same question. Exact: the same bytes, of the same revision."""

    ttl: PositiveDuration = Field(description="How long an answer is given again.")
    max_size: Memory = Field(
        default="256Mi",
        description="The most memory for answers, in each gateway. Redis and Memcached bound their own.",
    )
    scope: Literal["Tenant", "Service"] = Field(
        default="Tenant",
        description="Tenant: one tenant never gets an answer that was computed for another. Service: all share them.",
    )
    key: CacheKey | None = Field(
        default=None, description="What of the body makes a question the same. Default: all of it."
    )
    backend: CacheBackend = Field(
        default_factory=lambda: CacheBackend(type="Memory"), description="Where answers are kept. Default: in memory."
    )


class ServiceRef(Part):
    """Another service."""

    name: DnsLabel = Field(description="Its name.")


class Fallback(Part):
    """One answer instead of the model's."""

    type: Literal["StaleCache", "Service", "Static"] = Field(
        description="StaleCache: the last answer to the same question. Service: another service's. Static: a fixed one."
    )
    max_age: PositiveDuration | None = Field(
        default=None,
        validate_default=True,
        description="StaleCache: how long ago the answer may have been computed; above cache.ttl. Required there. "
        "Default: none, for other types.",
    )
    service: ServiceRef | None = Field(
        default=None,
        validate_default=True,
        description="Service: the one that answers. Required there. Default: none, for other types.",
    )
    body: str | None = Field(
        default=None,
        validate_default=True,
        max_length=MAX_STATIC,
        description="Static: the answer's body, as text. Required there. Default: none, for other types.",
    )
    content_type: MediaType | None = Field(
        default=None,
        validate_default=True,
        description="Static: the body's media type. Default: application/json.",
    )

    @field_validator("max_age", "service", "body", "content_type")
    @classmethod
    def _fields_fit_type(cls, value: object, info: ValidationInfo) -> object:
        kind, field = info.data.get("type"), str(info.field_name)
        owner, key, example = _FIELDS[field]
        if kind is not None and kind != owner and value is not None:
            raise ValueError(f"belongs to type: {owner}; a {kind} fallback has none, remove it")
        if kind == owner and value is None and example:
            raise ValueError(f"missing; a {kind} fallback needs it, such as {key}: {example}")
        return value

    @field_validator("content_type")
    @classmethod
    def _body_is_what_it_says(cls, content_type: str | None, info: ValidationInfo) -> str | None:
        body = info.data.get("body")
        if body is None or info.data.get("type") != "Static":
            return content_type
        if (content_type or _JSON).partition(";")[0].strip() == _JSON:
            try:
                json.loads(body, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                problem_at(
                    ("..", "body"), f"{shown(body)} is not JSON; mend it, or name what it is: contentType: text/plain"
                )
        return content_type


# Field to the type it belongs to, its key, and, where that type needs it, an example.
_FIELDS = {
    "max_age": ("StaleCache", "maxAge", "1h"),
    "service": ("Service", "service", "{name: smaller}"),
    "body": ("Static", "body", """'{"score": 0.5}'"""),
    "content_type": ("Static", "contentType", ""),
}


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python's reader takes and RFC 8259 doesn't have."""
    raise ValueError(name)


class SessionAffinity(Part):
    """Requests of one session go to one replica, as long as it is there."""

    type: Literal["Header", "Cookie"] = Field(description="Where a request names its session.")
    name: Token = Field(description="The name of the header or of the cookie.")

    @field_validator("name")
    @classmethod
    def _name_tells_sessions_apart(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("type") == "Header" and name.lower() == "cookie":
            raise ValueError("a header of many cookies; write type: Cookie and the name of one")
        if info.data.get("type") == "Header" and name.lower().startswith("plimsoll-"):
            raise ValueError(f"{shown(name)} is the server's own; expected a header of the client's, such as x-user")
        return name


def check_fallbacks(fallback: tuple[Fallback, ...]) -> None:
    """Fails validation at a step that can never be tried."""
    seen: dict[tuple[str, str], int] = {}
    for index, step in enumerate(fallback):
        if index and fallback[index - 1].type == "Static":
            problem_at((index,), f"is never tried: fallback[{index - 1}] is Static and always answers; put it before")
        first = seen.setdefault((step.type, step.service.name if step.service is not None else ""), index)
        if first != index:
            problem_at((index,), f"is the same as fallback[{first}]; remove one")
