"""The four CustomResourceDefinitions: names, scope, columns, subresources, and the schema of each kind."""

import copy
from dataclasses import dataclass, field
from typing import Any

from plimsoll.backends.kubernetes.crd.rules import MODEL_SERVICE, PLATFORM, TENANT, Rule, with_rules
from plimsoll.backends.kubernetes.crd.status import (
    MODEL_SERVICE_STATUS,
    PLAIN_STATUS,
    REVISION_SPEC,
    REVISION_STATUS,
    mapping,
)
from plimsoll.backends.kubernetes.crd.structural import Schema, structural
from plimsoll.backends.kubernetes.names import GROUP, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, VERSION
from plimsoll.backends.kubernetes.objects import Obj, to_yaml
from plimsoll.spec import KINDS, json_schema
from plimsoll.spec.values import LABEL_PATTERN

_API_VERSION = "The version of this object's format, group/version."
_KIND = "What kind of object this is."
_GENERATED = "# Generated from the service file's own schema by scripts/check_generated.py --write.\n"

Column = dict[str, Any]


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Column:
    found: Column = {"name": name, "type": kind, "jsonPath": path}
    return found | ({"priority": 1} if wide else {})


_READY = _column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_AGE = _column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class CrdKind:
    """One kind. `rules`: CEL by the place they stand at; `status`: its schema."""

    kind: str
    plural: str
    short: str
    namespaced: bool
    status: Schema
    columns: tuple[Column, ...]
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    spec: Schema | None = None  # None: from the pydantic model
    scale: bool = False

    @property
    def name(self) -> str:
        return f"{self.plural}.{GROUP}"


CRD_KINDS: dict[str, CrdKind] = {
    one.kind: one
    for one in (
        CrdKind(
            "ModelService",
            "modelservices",
            "msvc",
            namespaced=True,
            status=MODEL_SERVICE_STATUS,
            rules=MODEL_SERVICE,
            scale=True,
            columns=(
                _column("URL", ".status.url"),
                _READY,
                _column("Replicas", ".status.ready"),
                _column("P99", ".status.p99"),
                _column("Budget", ".status.budget"),
                _column("Revision", ".status.revision"),
                _AGE,
                _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
                _column("Desired", ".status.desiredReplicas", "integer", wide=True),
                _column("Requests", ".status.requestsPerSecond", wide=True),
            ),
        ),
        CrdKind(
            "Revision",
            "revisions",
            "msvcrev",
            namespaced=True,
            status=REVISION_STATUS,
            spec=REVISION_SPEC,
            columns=(
                _column("Service", ".spec.service"),
                _column("Number", ".spec.number", "integer"),
                _READY,
                _column("Replicas", ".status.readyReplicas", "integer"),
                _AGE,
            ),
        ),
        CrdKind(
            "Tenant",
            "tenants",
            "mtenant",
            namespaced=False,
            status=PLAIN_STATUS,
            rules=TENANT,
            columns=(_column("Weight", ".spec.weight", "number"), _READY, _AGE),
        ),
        CrdKind(
            "Platform",
            "platforms",
            "mplatform",
            namespaced=False,
            status=PLAIN_STATUS,
            rules=PLATFORM,
            columns=(_column("Host", ".spec.gateway.hostnameTemplate"), _READY, _AGE),
        ),
    )
}


def schema_of(kind: str) -> Schema:
    """The structural schema of one kind, status and all. A fresh object at each call."""
    known = CRD_KINDS[kind]
    if known.spec is None:
        whole = json_schema(KINDS[kind])
        described, spec = str(whole["description"]), structural(whole["properties"]["spec"], "spec")
    else:
        described, spec = str(known.spec["description"]), known.spec
    schema: Schema = {
        "type": "object",
        "description": described,
        "properties": {
            "apiVersion": {"type": "string", "description": _API_VERSION},
            "kind": {"type": "string", "description": _KIND},
            # Kubernetes allows no more here; its own limit is longer than a label's, which the name must be.
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 63, "pattern": LABEL_PATTERN}},
            },
            "spec": spec,
            "status": mapping(str(known.status["description"]), known.status["properties"]),
        },
        "required": ["spec"],
    }
    return with_rules(copy.deepcopy(schema), known.rules)


def crd(kind: str) -> Obj:
    known = CRD_KINDS[kind]
    subresources: Obj = {"status": {}}
    if known.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": known.name, "labels": {NAME_LABEL: "plimsoll", MANAGED_BY_LABEL: MANAGED_BY}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": known.kind,
                "listKind": f"{known.kind}List",
                "plural": known.plural,
                "singular": known.kind.lower(),
                "shortNames": [known.short],
                "categories": ["plimsoll"],
            },
            "scope": "Namespaced" if known.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema_of(kind)},
                    "subresources": subresources,
                    "additionalPrinterColumns": [dict(one) for one in known.columns],
                }
            ],
        },
    }


def crds() -> list[Obj]:
    return [crd(kind) for kind in CRD_KINDS]


def file_name(kind: str) -> str:
    """As controller-gen names them: plimsoll.dev_modelservices.yaml."""
    return f"{GROUP}_{CRD_KINDS[kind].plural}.yaml"


def crd_text(kind: str) -> str:
    """As committed in deploy/crds, one fixed form."""
    return _GENERATED + to_yaml([crd(kind)])
