"""The host of `authority`: the Secrets that gateways and replicas mount while the Platform says `replicaTls: Required`.

    certificates = ReplicaCertificates(api, "plimsoll-system", services=…, settled=…)
    await certificates.turn(time.time(), platform)       # by the one who leads, each half minute
    await certificates.prepare(service, time.time())     # before a service's pods are made; raises Refused
    platform = certificates.allowed(platform)            # Required only when gateways have theirs

Turned on: the gateways' certificate first; `settle_s` later, when kubelets have brought it, pods speak TLS. Turned off:
a service's Secret goes when its last pod that speaks TLS is gone, and the authority with the last Secret.
"""

import base64
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.x509 import ObjectIdentifier

from plimsoll.backends.kubernetes.api import Api, ApiError, path_of
from plimsoll.backends.kubernetes.names import (
    API_VERSION,
    CERTIFIER,
    COMPONENT_LABEL,
    FIELD_MANAGER,
    GATEWAY,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OPERATOR,
    REPLICA_AUTHORITY,
    authority_namespace,
    owned_labels,
    serving_certificate,
)
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.apply import Refused
from plimsoll.backends.kubernetes.operator.authority import AuthoritySettings, carried_out, leaf_wanted, plan
from plimsoll.backends.kubernetes.operator.certificates import Fresh, Wait, own_names
from plimsoll.backends.kubernetes.operator.renewing import decoded, found
from plimsoll.backends.kubernetes.operator.seen import ServiceKey, ServiceObject
from plimsoll.backends.kubernetes.operator.signing import CA, CERTIFICATE, CLIENT, KEY, SERVER, Data, signed
from plimsoll.spec import Platform

LOG = logging.getLogger(__name__)

_FIELDS = {"fieldManager": FIELD_MANAGER}
_LOOK_S = 600.0  # one that somebody deleted is made again within it


@dataclass(frozen=True, slots=True)
class CertificateTimes:
    """`settle_s`: kubelets look at Secrets each minute or so, from a cache that may be as old."""

    authority: AuthoritySettings = field(default_factory=AuthoritySettings)
    settle_s: float = 150.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """A Secret: `owner` is None for the gateways' own."""

    key: ServiceKey
    names: Sequence[str]
    usage: ObjectIdentifier
    owner: ServiceObject | None

    @property
    def name(self) -> str:
        return serving_certificate(self.key.name)

    @property
    def labels(self) -> dict[str, str]:
        if self.owner is None:
            return {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: "gateway"}
        return owned_labels(self.key.name)


@dataclass(frozen=True, slots=True)
class _Stands:
    """As it was seen at `looked`: good until `due`."""

    uid: str
    bundle: bytes
    looked: float
    due: float


class ReplicaCertificates:
    """`services`: those that are kept. `settled`: whether a service's pods are all as the Platform wants them now."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        services: Callable[[], Iterable[ServiceObject]],
        settled: Callable[[ServiceKey], bool],
        times: CertificateTimes | None = None,
    ) -> None:
        self._known = False
        self._api, self._namespace = api, namespace
        self._services, self._settled = services, settled
        self._times = times or CertificateTimes()
        self._home = authority_namespace(namespace)
        self._gateway = ServiceKey(namespace, GATEWAY)
        self._wanted = False
        self._authority: Data | None = None
        self._stands: dict[ServiceKey, _Stands] = {}
        self._gone: set[ServiceKey] = set()
        self._said: dict[ServiceKey, str] = {}
        self._settles = 0.0
        self._open = False

    def forget(self) -> None:
        """Another one may have led meanwhile."""
        self._known, self._authority, self._open = False, None, False
        self._stands.clear()
        self._gone.clear()

    def knows(self, platform: Platform | None) -> bool:
        """Whether it has looked at what stands, for this Platform: nothing is rendered before."""
        return self._known and (_wants(platform) == self._wanted)

    def overdue(self, now: float) -> bool:
        """Whether gateways have had their time, or a Secret may go, and only the next turn is waited for."""
        if self._known and not self._wanted and self._authority is not None:
            left = [key for key in self._left() if key not in self._gone]
            return not left or any(self._settled(key) for key in left)
        return bool(self._settles) and not self._open and now >= self._settles

    def allowed(self, platform: Platform | None) -> Platform | None:
        """`platform` as pods may be rendered now."""
        if platform is None or not _wants(platform) or self._open or not self._settles:
            return platform
        plain = platform.spec.gateway.model_copy(update={"replica_tls": "Disabled"})
        return platform.model_copy(update={"spec": platform.spec.model_copy(update={"gateway": plain})})

    async def turn(self, now: float, platform: Platform | None) -> None:
        """Raises ApiError and Unreachable; the next turn goes on from there."""
        wanted = _wants(platform)
        turned = wanted != self._wanted
        if turned:
            self._known, self._wanted = False, wanted
            self._stands.clear()
            self._gone.clear()
        if not wanted:
            self._open, self._settles = False, 0.0
            if self._known and self._authority is None:
                return
        try:
            await self._turn(now, may_leave=not turned)
        except ApiError:
            self._known = True  # what it is depends on rights: services say so
            raise

    async def _turn(self, now: float, *, may_leave: bool) -> None:
        secret = await found(self._api, path_of("v1", "secrets", self._home, REPLICA_AUTHORITY))
        self._authority = None if secret is None else decoded(secret)
        if not self._wanted:
            self._known = True
            # Whether pods are settled is judged by the new Platform, which is adopted after this turn.
            if self._authority is not None and may_leave:
                await self._leave()
            return
        await self._authorize(secret, now)
        began = await self._kept(_Wish(self._gateway, _gateway_names(self._namespace), CLIENT, None), now)
        if began is not None and not self._open:
            self._settles = began + self._times.settle_s
            # What a clock says that was put right must not hold it up.
            self._open = not self._settles - self._times.settle_s - 60.0 < now < self._settles
        self._known = True
        for service in list(self._services()):
            if not service.deleting:
                await self._renew(service, now)

    async def prepare(self, service: ServiceObject, now: float) -> None:
        """Its Secret stands when this returns. Nothing where none is wanted. Raises Refused and Unreachable."""
        if not self._wanted:
            return
        wish = _Wish(service.key, own_names(service.key.namespace, (service.key.name,)), SERVER, service)
        doing = f"make the certificate Secret {wish.name}"
        if service.key == self._gateway:
            raise Refused(doing, ApiError(403, "Forbidden", "the gateways' own name is no service's; choose another"))
        if self._authority is None:
            message = f"Secret {REPLICA_AUTHORITY} in {self._home} can't be made; the operator's log says why"
            raise Refused(doing, ApiError(503, "Unavailable", message))
        stands = self._stands.get(service.key)
        if (
            stands is not None
            and (stands.uid, stands.bundle) == (service.uid, self._authority[CA])
            and stands.looked <= now < stands.due
        ):
            return
        try:
            await self._kept(wish, now)
        except ApiError as error:
            raise Refused(doing, _explained(error, service.key.namespace, self._namespace)) from error

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _authorize(self, secret: Obj | None, now: float) -> None:
        bundle = (self._authority or {}).get(CA, b"")
        holders = [self._gateway, *(one.key for one in self._services() if not one.deleting)]
        # Of one that could not be looked at, nobody knows what it holds.
        everywhere = all(key in self._stands and self._stands[key].bundle == bundle for key in holders)
        step = plan(self._authority, everywhere, now, self._times.authority)
        if isinstance(step, Wait):
            return
        known = b""
        if isinstance(step, Fresh):
            gateways = await found(self._api, self._path(self._gateway))
            known = decoded(gateways).get(CA, b"") if gateways is not None else b""
        data = carried_out(step, self._authority, now, self._times.authority, known)
        labels = {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: "operator"}
        meta = {"name": REPLICA_AUTHORITY, "namespace": self._home, "labels": labels}
        await self._written(secret, meta, data)
        self._authority = data
        LOG.info("the authority of replicas and gateways: %s", step)

    async def _kept(self, wish: _Wish, now: float) -> float | None:
        """Makes it, renews it, or brings it the newest bundle. When it was made, by the server's clock."""
        assert self._authority is not None
        secret = await found(self._api, self._path(wish.key))
        if secret is not None and not _ours(secret, wish):
            message = f"Secret {wish.name} is there and not Plimsoll's; rename it, or the service"
            raise ApiError(409, "AlreadyExists", message)
        data = {} if secret is None else decoded(secret)
        settings, authority = self._times.authority, self._authority
        step = leaf_wanted(data, authority, wish.names, now, settings)
        wanted = dict(data)
        if isinstance(step, Fresh):
            certificate, key = signed(
                wish.names, authority[CERTIFICATE], authority[KEY], now, settings.leaf_life_s, wish.usage
            )
            wanted = {CERTIFICATE: certificate, KEY: key}
        wanted[CA] = authority[CA]
        if wanted != data or (secret is not None and not _owned(secret, wish)):
            meta: Obj = {"name": wish.name, "namespace": wish.key.namespace, "labels": wish.labels}
            if wish.owner is not None:
                meta["ownerReferences"] = [_owner(wish.owner)]
            secret = await self._written(secret, meta, wanted)
            LOG.info("certificate of %s: %s", wish.key, step.why if isinstance(step, Fresh) else "the newest bundle")
        uid = "" if wish.owner is None else wish.owner.uid
        due = step.until if isinstance(step, Wait) else now + _LOOK_S
        self._stands[wish.key] = _Stands(uid, authority[CA], now, min(due, now + _LOOK_S))
        assert secret is not None
        made = secret["metadata"].get("creationTimestamp")
        return datetime.fromisoformat(made).timestamp() if made else None

    async def _renew(self, service: ServiceObject, now: float) -> None:
        """One that can't be written holds up no other."""
        said = ""
        try:
            await self.prepare(service, now)
        except Refused as refused:
            said = str(refused)
        if said and said != self._said.get(service.key):
            LOG.warning("%s: %s", service.key, said)
        self._said[service.key] = said

    async def _leave(self) -> None:
        """The gateways' certificate and the authority go last, since any service may still need them."""
        for service in self._left().values():
            if service.key not in self._gone and self._settled(service.key):
                await self._deleted(_Wish(service.key, (), SERVER, service))
                self._gone.add(service.key)
        if self._gone >= self._left().keys():
            await self._deleted(_Wish(self._gateway, (), CLIENT, None))
            await self._away(path_of("v1", "secrets", self._home, REPLICA_AUTHORITY))
            self._authority = None
            LOG.info("replicas speak plain HTTP; certificates and their authority are deleted")

    def _left(self) -> dict[ServiceKey, ServiceObject]:
        """Those whose Secrets don't go by themselves."""
        return {one.key: one for one in self._services() if not one.deleting and one.key != self._gateway}

    async def _deleted(self, wish: _Wish) -> None:
        try:
            secret = await found(self._api, self._path(wish.key))
            if secret is not None and _ours(secret, wish):
                await self._away(self._path(wish.key), secret["metadata"]["uid"])
        except ApiError as error:
            if error.code != 403:
                raise
            LOG.warning("Secret %s in %s stays: %s", wish.name, wish.key.namespace, error)

    async def _away(self, path: str, uid: str = "") -> None:
        try:
            await self._api.delete(path, {"preconditions": {"uid": uid}} if uid else None)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _written(self, secret: Obj | None, meta: Obj, data: Data) -> Obj:
        """Two that think they lead must not mix their pairs: the second gets a 409."""
        texts: dict[str, Any] = {key: base64.b64encode(value).decode() for key, value in data.items()}
        if secret is None:
            body: Obj = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
            path = path_of("v1", "secrets", meta["namespace"])
            return await self._api.post(path, body | {"metadata": meta, "data": texts}, _FIELDS)
        texts |= {key: None for key in secret.get("data") or {} if key not in data}
        patch = {"metadata": {**meta, "resourceVersion": secret["metadata"]["resourceVersion"]}, "data": texts}
        return await self._api.patch(path_of("v1", "secrets", meta["namespace"], meta["name"]), patch, params=_FIELDS)

    def _path(self, key: ServiceKey) -> str:
        return path_of("v1", "secrets", key.namespace, serving_certificate(key.name))


def _wants(platform: Platform | None) -> bool:
    return platform is not None and platform.spec.gateway.replica_tls == "Required"


def _gateway_names(namespace: str) -> tuple[str, ...]:
    """The one that replicas look for."""
    return (f"{GATEWAY}.{namespace}.svc",)


def _owner(service: ServiceObject) -> Obj:
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "name": service.key.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _ours(secret: Obj, wish: _Wish) -> bool:
    labels = secret["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in wish.labels.items())


def _owned(secret: Obj, wish: _Wish) -> bool:
    """One of a service that was deleted and made again goes with the old one otherwise."""
    owners = secret["metadata"].get("ownerReferences") or ()
    return wish.owner is None or any(one.get("uid") == wish.owner.uid for one in owners)


def _explained(error: ApiError, namespace: str, system: str) -> ApiError:
    if error.code != 403:
        return error
    remedy = (
        f"let it: kubectl create rolebinding plimsoll-certificates -n {namespace} --clusterrole={CERTIFIER} "
        f"--serviceaccount={system}:{OPERATOR}"
    )
    return ApiError(403, "Forbidden", f"gateway.replicaTls needs it, and the operator may not; {remedy}")
