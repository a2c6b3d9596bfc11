"""One `Tenant`: how a gateway knows it, what it may call, how much, and what it weighs against others."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.core.subjects import canonical_subject
from plimsoll.spec.base import ClusterMetadata, Part, Whole
from plimsoll.spec.edge import SecretRef
from plimsoll.spec.values import DnsLabel, Labels, problem_at, shown
from plimsoll.spec.web_values import JwksUri, Rate, Subject, Weight

MOST_PRIORITY = 1_000_000
Text = Annotated[str, Field(min_length=1, max_length=1024)]


class PlatformSecretRef(SecretRef):
    """One value of a secret, in a namespace. On a laptop the file secrets/NAME/KEY beside this one."""

    namespace: DnsLabel | None = Field(
        default=None, description="The secret's namespace; a laptop has none. Default: the platform's own."
    )


class ApiKey(Part):
    """A key that the tenant sends. Only its hash is kept."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "key": "a key never stands in a file; put its hash into a secret and write hashSecretRef",
        "hash": "a hash stands in a secret, apart from this file; write hashSecretRef: {name: …, key: …}",
    }

    name: DnsLabel = Field(description="What the key is called in logs and in the audit log.")
    hash_secret_ref: PlatformSecretRef = Field(
        description="The secret that holds the key's hash: lines sha256:HEX, several while a key is being replaced."
    )


class Jwt(Part):
    """Signed tokens that stand for the tenant."""

    issuer: Text = Field(description="Who signs: the token's iss, exactly.")
    audience: Text = Field(description="Whom it is for: the token's aud, or one of them.")
    jwks_uri: JwksUri = Field(
        description="Where the issuer publishes its keys: an https URL, or http on a loopback host."
    )
    claims: dict[str, str] = Field(
        default_factory=dict, description="Further claims that a token must have, with these values. Default: none."
    )


class Certificate(Part):
    """A client certificate that stands for the tenant."""

    subject: Subject = Field(
        description="Its subject by RFC 4514, CN=checkout,O=Shop, or one of its alternative names: DNS:… or URI:…."
    )


class Auth(Part):
    """How a gateway knows the tenant. One of them is enough."""

    api_keys: Annotated[tuple[ApiKey, ...], Field(strict=False)] = Field(
        default=(), description="API keys, sent as `authorization: Bearer KEY` or `x-api-key: KEY`. Default: none."
    )
    jwt: Jwt | None = Field(
        default=None, description="Signed tokens, sent as `authorization: Bearer TOKEN`. Default: none."
    )
    certificates: Annotated[tuple[Certificate, ...], Field(strict=False)] = Field(
        default=(), description="Client certificates, where the gateway asks for them (mTLS). Default: none."
    )

    @field_validator("api_keys")
    @classmethod
    def _keys_differ(cls, keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        names = [key.name for key in keys]
        for index, name in enumerate(names):
            if name in names[:index]:
                problem_at((index, "name"), f"{name} is the name of apiKeys[{names.index(name)}] too; expected another")
        return keys

    @field_validator("certificates")
    @classmethod
    def _subjects_differ(cls, certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        subjects = [canonical_subject(one.subject) for one in certificates]
        for index, subject in enumerate(subjects):
            if subject in subjects[:index]:
                problem_at((index, "subject"), f"{shown(subject)} stands there twice; remove one")
        return certificates


class ServiceSelector(Part):
    """Services by their labels."""

    match_labels: Labels = Field(
        default_factory=dict, description="Labels that a service must have, all of them. Default: any."
    )


class Allow(Part):
    """Some services."""

    namespaces: Annotated[tuple[DnsLabel, ...], Field(strict=False)] = Field(
        default=(), description="The services' namespaces. Default: any."
    )
    service_selector: ServiceSelector = Field(
        default_factory=ServiceSelector, description="The services' labels. Default: any."
    )


class Quota(Part):
    """How much the tenant may ask for in all, whatever the number of gateways. Beyond it: 429, throttled."""

    requests_per_second: Rate | None = Field(
        default=None, description="Requests a second; a burst of one second's worth is let through. Default: no limit."
    )
    concurrent_requests: int | None = Field(
        default=None, ge=1, description="Requests in flight at once. Default: no limit."
    )
    tokens_per_minute: Rate | None = Field(
        default=None, description="Tokens of language models a minute, asked and answered. Default: no limit."
    )


class TenantSpec(Part):
    """The whole of a tenant."""

    auth: Auth = Field(description="How a gateway knows the tenant: API keys, signed tokens, client certificates.")
    allow: Annotated[tuple[Allow, ...], Field(strict=False)] | None = Field(
        default=None,
        min_length=1,
        description="The services it may call: those that fit one of the entries. Default: every service.",
    )
    quota: Quota = Field(default_factory=Quota, description="How much it may ask for. Default: no limits.")
    weight: Weight = Field(
        default=1, description="Its share of a busy replica against other tenants' weights, from 0.01 to 1000."
    )
    max_priority: int = Field(
        default=0,
        ge=0,
        le=MOST_PRIORITY,
        description="The highest priority its requests may ask for (header plimsoll-priority; higher is sooner).",
    )

    @field_validator("auth")
    @classmethod
    def _somebody_can_be_told(cls, auth: Auth, info: ValidationInfo) -> Auth:
        if not auth.api_keys and auth.jwt is None and not auth.certificates:
            raise ValueError("nothing tells this tenant from others; expected apiKeys, jwt or certificates")
        return auth


class Tenant(Whole):
    """Somebody who calls services: how it is known, what it may call, and how much."""

    api_version: Literal["plimsoll.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["Tenant"] = Field(description="What this document describes.")
    metadata: ClusterMetadata = Field(description="Who the tenant is.")
    spec: TenantSpec = Field(description="How it is known, what it may call, and how much.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels
