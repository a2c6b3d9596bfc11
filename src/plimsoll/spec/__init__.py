"""The objects a user writes: parsing, defaults, checks, JSON schema. A document is a `ModelService`, a `Tenant` or the
`Platform`.

`load_all_files` (and `load_all_file`, `load_all_text`) give `Documents(services, tenants, platforms)`, with `platform`,
`joined(other)` and iteration over all, or raise `SpecErrors` with everything that is wrong, each problem with its file,
line and key. `load_files`, `load_file` and `load_text` are the same, the services alone. What is wrong between objects:
`check_together(documents)` is all of it (names, routes, credentials, one platform, references);
`check_unique(services)` and `check_references(services)` are parts. One file alone is not checked for references: they
may lead to another file.

`views` turns objects into `core.snapshot`'s: `service_views(service, cache_url=…, cache_epoch=…)`, keyword arguments of
a `ServiceView`; `tenant_view(tenant, secrets=…)`; `limits_view(platform, gateways=…, secrets=…)`. `secrets` gives the
text of a `SecretRef(name, key)`; `service.cache_secret_ref` and `platform.rate_limits_secret_ref` say which are needed.

`scaling` turns them into what policies take: `bounds_of(service, platform)`, `policy_text(service)`,
`price_per_hour(service, platform)`.

Reading a file is the only I/O here; nothing starts a process, opens a socket or reads a clock, and nothing looks at the
model behind `spec.model.path`.
"""

from plimsoll.core.errors import SpecErrors
from plimsoll.spec.base import API_VERSION, Whole
from plimsoll.spec.edge import SecretRef
from plimsoll.spec.honour import not_honoured
from plimsoll.spec.load import (
    KINDS,
    check_unique,
    load_all_file,
    load_all_files,
    load_all_text,
    load_file,
    load_files,
    load_text,
    read,
)
from plimsoll.spec.model import EnvironmentVariable, ModelSource, Runtime
from plimsoll.spec.nodes import NodeClass
from plimsoll.spec.origin import Origin
from plimsoll.spec.parts import (
    Batching,
    Budget,
    Latency,
    Limits,
    Metadata,
    Requests,
    Resources,
    Route,
    ServiceSpec,
)
from plimsoll.spec.platform import Platform
from plimsoll.spec.platform_cluster import AcceleratorClass, GatewayTls, ModelCache, ParentRef
from plimsoll.spec.pods import Accelerator, PodTemplate, VolumeClaim
from plimsoll.spec.scaling import bounds_of, policy_text, price_per_hour, share_of
from plimsoll.spec.scaling_parts import Scaling
from plimsoll.spec.schema import editor_schema_text, json_schema, schema_text
from plimsoll.spec.service import ModelService
from plimsoll.spec.tenant import Tenant
from plimsoll.spec.together import Documents, check_here, check_names_here, check_references, check_together
from plimsoll.spec.views import Secrets, limits_view, parse_key_hashes, service_views, tenant_view

__all__ = [
    "API_VERSION",
    "KINDS",
    "Accelerator",
    "AcceleratorClass",
    "Batching",
    "Budget",
    "Documents",
    "EnvironmentVariable",
    "GatewayTls",
    "Latency",
    "Limits",
    "Metadata",
    "ModelCache",
    "ModelService",
    "ModelSource",
    "NodeClass",
    "Origin",
    "ParentRef",
    "Platform",
    "PodTemplate",
    "Requests",
    "Resources",
    "Route",
    "Runtime",
    "Scaling",
    "SecretRef",
    "Secrets",
    "ServiceSpec",
    "SpecErrors",
    "Tenant",
    "VolumeClaim",
    "Whole",
    "bounds_of",
    "check_here",
    "check_names_here",
    "check_references",
    "check_together",
    "check_unique",
    "editor_schema_text",
    "json_schema",
    "limits_view",
    "load_all_file",
    "load_all_files",
    "load_all_text",
    "load_file",
    "load_files",
    "load_text",
    "not_honoured",
    "parse_key_hashes",
    "policy_text",
    "price_per_hour",
    "read",
    "schema_text",
    "service_views",
    "share_of",
    "tenant_view",
]
