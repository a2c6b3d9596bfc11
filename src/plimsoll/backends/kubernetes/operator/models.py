"""The ConfigMap that `plimsoll pack` made of a small model: it goes with the last service that was ever made of it.

Who applied it stays the manager of what it holds. Each service adds itself to its owners, as a field manager of its
own: one manager for all would, applying one service's owner, take the others' away.
"""

import logging
from collections.abc import Mapping
from typing import Any

from plimsoll.backends.kubernetes.artifacts.references import MODEL_OF_LABEL
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.apply import Applier, Refused
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.seen import ServiceObject

LOG = logging.getLogger(__name__)

_CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps")


async def adopt(applier: Applier, service: ServiceObject, name: str) -> bool:
    """Makes the service one of the ConfigMap's owners. Whether nothing is left to do: one that isn't there yet may
    come. Raises Unreachable."""
    namespace = service.key.namespace
    try:
        live = await applier.found(_CONFIG_MAPS, namespace, name)
        if live is None:
            return False
        body = with_owner(live, service)
        if body is not None:
            await applier.applied(body, manager=f"plimsoll-owner-{service.uid}")
    except Refused as refused:
        if refused.error.code in (404, 409):  # it went meanwhile, or is another by now
            return False
        LOG.warning("ConfigMap %s/%s stays when %s goes: %s", namespace, name, service.key, refused)
    return True


def with_owner(configmap: Mapping[str, Any], service: ServiceObject) -> Obj | None:
    """What to apply so that it goes with the service. None: it does already, or it is somebody's own. With its uid:
    one that was deleted meanwhile isn't made anew."""
    meta = configmap["metadata"]
    owners = meta.get("ownerReferences") or ()
    if MODEL_OF_LABEL not in (meta.get("labels") or {}) or any(one.get("uid") == service.uid for one in owners):
        return None
    owner = {"apiVersion": API_VERSION, "kind": "ModelService", "name": service.key.name, "uid": service.uid}
    kept = {key: meta[key] for key in ("name", "namespace", "uid")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**kept, "ownerReferences": [owner]}}
