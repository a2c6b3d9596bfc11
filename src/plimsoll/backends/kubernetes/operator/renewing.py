"""The host of `certificates`: keeps the Secret, publishes the authority, and tells the API server whom to trust.

    renewing = Renewing(api, "plimsoll-system", on_pair=webhook.show)
    await renewing.turn(time.time(), leading=elected.leading)      # each half minute

Who leads writes; the others only read, since their webhooks show the same certificate.
"""

import base64
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.api import APPLY_PATCH, Api, ApiError, path_of
from plimsoll.backends.kubernetes.names import (
    CA_CONFIG,
    CERTIFICATES,
    CONTROLLER,
    CONTROLLER_API,
    FIELD_MANAGER,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OPERATOR,
)
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.certificates import (
    CertificateSettings,
    Wait,
    carried_out,
    own_names,
    plan,
)
from plimsoll.backends.kubernetes.operator.signing import CA, CERTIFICATE, KEY, Data

LOG = logging.getLogger(__name__)

APISERVICES = ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")
_APPLY = {"fieldManager": FIELD_MANAGER, "force": "true"}
_WEBHOOKS = ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations")
_APIS = ("apiregistration.k8s.io/v1", "apiservices")


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM: what an address of ours shows, and by what it is verified."""

    authority: bytes
    certificate: bytes
    key: bytes


class Renewing:
    """`pair`: the one in effect, None before the first turn that found or made one."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        more_names: Iterable[str] = (),
        settings: CertificateSettings | None = None,
        on_pair: Callable[[Pair], None] | None = None,
    ) -> None:
        self.pair: Pair | None = None
        self._api, self._namespace = api, namespace
        self._names = (*own_names(namespace, (OPERATOR, CONTROLLER_API, CONTROLLER)), *more_names)
        self._settings, self._on_pair = settings, on_pair

    async def turn(self, now: float, *, leading: bool) -> None:
        """`now`: seconds since 1970. Raises ApiError and Unreachable; the next turn goes on from there."""
        secret = await found(self._api, path_of("v1", "secrets", self._namespace, CERTIFICATES))
        data: Data | None = None if secret is None else decoded(secret)
        if leading:
            data = await self._renewed(secret, data, now)
        if data is None or not {CA, CERTIFICATE, KEY} <= data.keys():
            return
        pair = Pair(data[CA], data[CERTIFICATE], data[KEY])
        if pair != self.pair:
            self.pair = pair
            if self._on_pair is not None:
                self._on_pair(pair)
        if leading:
            await self._publish(data[CA])

    async def _renewed(self, secret: Obj | None, data: Data | None, now: float) -> Data | None:
        step = plan(data, self._names, now, self._settings)
        if isinstance(step, Wait):
            return data
        data = carried_out(step, data, self._names, now, self._settings)
        meta: dict[str, Any] = {
            "name": CERTIFICATES,
            "namespace": self._namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        }
        if secret is not None:
            # Two that think they lead must not mix their pairs: the second gets a 409.
            meta = {**secret["metadata"], "labels": {**(secret["metadata"].get("labels") or {}), **meta["labels"]}}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": (secret or {}).get("type") or "kubernetes.io/tls",
            "metadata": meta,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        if secret is None:
            await self._api.post(path_of("v1", "secrets", self._namespace), body, {"fieldManager": FIELD_MANAGER})
        else:
            path = path_of("v1", "secrets", self._namespace, CERTIFICATES)
            await self._api.put(path, body, {"fieldManager": FIELD_MANAGER})
        LOG.info("certificate: %s", step)
        return data

    async def _publish(self, authority: bytes) -> None:
        text = authority.decode()
        path = path_of("v1", "configmaps", self._namespace, CA_CONFIG)
        config = await found(self._api, path)
        if config is None or (config.get("data") or {}).get(CA) != text:
            meta = {"name": CA_CONFIG, "namespace": self._namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
            body: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {CA: text}}
            await self._api.patch(path, body, kind=APPLY_PATCH, params=_APPLY)
        await self._trust(base64.b64encode(authority).decode())

    async def _trust(self, bundle: str) -> None:
        """Only where it leads to us: an APIService of KEDA's or an adapter's is theirs."""
        hooks = await found(self._api, path_of(*_WEBHOOKS, name=OPERATOR))
        ours = [
            one for one in (hooks or {}).get("webhooks") or () if self._leads_here(one.get("clientConfig"), OPERATOR)
        ]
        if any(one["clientConfig"].get("caBundle") != bundle for one in ours):
            body: Obj = {
                "apiVersion": _WEBHOOKS[0],
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": OPERATOR},
                "webhooks": [{"name": one["name"], "clientConfig": {"caBundle": bundle}} for one in ours],
            }
            await self._api.patch(path_of(*_WEBHOOKS, name=OPERATOR), body, kind=APPLY_PATCH, params=_APPLY)
        for name in APISERVICES:
            served = await found(self._api, path_of(*_APIS, name=name))
            spec = (served or {}).get("spec") or {}
            if not self._leads_here(spec, CONTROLLER_API) or spec.get("caBundle") == bundle:
                continue
            body = {
                "apiVersion": _APIS[0],
                "kind": "APIService",
                "metadata": {"name": name},
                "spec": {"caBundle": bundle},
            }
            await self._api.patch(path_of(*_APIS, name=name), body, kind=APPLY_PATCH, params=_APPLY)

    def _leads_here(self, holder: dict[str, Any] | None, service: str) -> bool:
        target = (holder or {}).get("service") or {}
        return target.get("namespace") == self._namespace and target.get("name") == service


async def found(api: Api, path: str) -> Obj | None:
    try:
        return await api.get(path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def decoded(secret: Obj) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
