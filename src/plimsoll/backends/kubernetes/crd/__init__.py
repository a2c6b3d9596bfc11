"""The kinds as custom resource definitions, from the spec's own schema. Pure; no client.

    crd(NAME), crds()      CustomResourceDefinitions as plain objects; crd_text(NAME): as committed in deploy/crds
    file_name(NAME)        plimsoll.dev_modelservices.yaml
    CRD_KINDS              ModelService, Tenant, Platform, Revision

Defaults are left out on purpose: the API server would freeze them into every stored object. What they come to stands in
a ModelService's `status.resolved`.
"""

from plimsoll.backends.kubernetes.crd.definitions import CRD_KINDS, CrdKind, crd, crd_text, crds, file_name, schema_of

__all__ = ["CRD_KINDS", "CrdKind", "crd", "crd_text", "crds", "file_name", "schema_of"]
