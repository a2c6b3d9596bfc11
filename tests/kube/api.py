"""What requests do to objects: create, update, patch, apply, delete, scale; finalizers and generations.

A change is planned, may be shown to admission webhooks, and is then committed if nobody was faster. Everything here is
synchronous; `server.py` speaks HTTP to it, the mini controllers call it directly.
"""

import datetime
import uuid
from dataclasses import dataclass

from tests.kube import defaults, ownership, patches, ranges, rules, schemas
from tests.kube.errors import ApiError, conflict, invalid, not_found
from tests.kube.kinds import Kind, Registry
from tests.kube.shapes import shape_of
from tests.kube.store import Record, Store, clone

APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
# Kinds whose change of anything but metadata and status is a new generation.
_GENERATIONS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "HorizontalPodAutoscaler", "Ingress", "Pod",
                "NetworkPolicy", "PodDisruptionBudget", "Job", "CronJob", "CustomResourceDefinition",
                "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "PriorityClass"}  # fmt: skip
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
# What an object's metadata may not lose by an update: the server's own.
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields")


def timestamp():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Stale(Exception):
    """Somebody else was faster; plan again."""


@dataclass
class Change:
    """`after`: None where the object goes."""

    operation: str  # CREATE, UPDATE, DELETE
    kind: Kind
    before: Record | None
    after: dict | None
    subresource: str = ""


@dataclass(frozen=True)
class Write:
    """How somebody writes."""

    manager: str = "unknown"
    force: bool = False
    strict: bool = False  # unknown fields of a custom resource are refused
    dry_run: bool = False


class Api:
    def __init__(self):
        self.store, self.registry = Store(), Registry()
        self._services = ranges.for_services()
        self._addresses = 0
        for name in SYSTEM_NAMESPACES:
            self.create_now("v1", "Namespace", {"metadata": {"name": name}})

    # --- for the mini controllers and tests, without HTTP -------------------------------------------------------------
    def kind(self, api_version, kind):
        found = self.registry.by_kind(api_version, kind)
        if found is None:
            raise ApiError(404, f"no kind {kind} in {api_version}")
        return found

    def create_now(self, api_version, kind, obj, manager="kube-controller-manager"):
        found = self.kind(api_version, kind)
        obj = {"apiVersion": api_version, "kind": kind, **obj}
        namespace = obj["metadata"].get("namespace", "")
        return self.commit(self.plan_create(found, namespace, obj, Write(manager)))

    def change_now(self, kind, namespace, name, change, subresource="", manager="kube-controller-manager"):
        """`change(copy)` alters it in place. Returns the new record, None where there is no such object."""
        with self.store.lock:
            record = self.store.get(kind.store, namespace, name)
            if record is None:
                return None
            obj = record.copy()
            change(obj)
            return self.commit(self.plan_update(kind, namespace, name, obj, subresource, Write(manager)))

    def delete_now(self, kind, namespace, name, grace_s=None):
        with self.store.lock:
            if self.store.get(kind.store, namespace, name) is not None:
                self.commit(self.plan_delete(kind, namespace, name, {"gracePeriodSeconds": grace_s}))

    # --- planning -----------------------------------------------------------------------------------------------------
    def plan_create(self, kind, namespace, obj, write):
        meta = obj.setdefault("metadata", {})
        if kind.namespaced:
            if meta.setdefault("namespace", namespace) != namespace:
                raise ApiError(400, "the namespace of the provided object does not match the namespace sent")
            self._check_namespace(kind, namespace, meta.get("name") or meta.get("generateName", ""))
        else:
            meta.pop("namespace", None)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + defaults.suffix()
        if not meta.get("name"):
            raise invalid(kind, "", [("metadata.name", "Required value: name or generateName is required")])
        if self.store.get(kind.store, meta.get("namespace", ""), meta["name"]):
            raise rules.exists(kind, meta["name"])
        if meta.pop("resourceVersion", None):
            raise ApiError(400, "resourceVersion should not be set on objects to be created")
        if "status" in kind.subresources and kind.crd is not None:
            obj.pop("status", None)
        for key in _KEPT:
            meta.pop(key, None)
        self._fill(kind, obj, None, write)
        self._new(kind, obj)
        ownership.updated(None, obj, write.manager, shape_of(kind), api_version=kind.api_version, now=timestamp())
        return Change("CREATE", kind, None, obj)

    def plan_update(self, kind, namespace, name, obj, subresource, write):
        record = self.found(kind, namespace, name)
        before = record.obj
        meta = obj.setdefault("metadata", {})
        if meta.get("name", name) != name:
            raise ApiError(400, "the name of the object does not match the name on the URL")
        wanted = meta.get("resourceVersion")
        if wanted and wanted != before["metadata"]["resourceVersion"]:
            raise conflict(kind, name, "the object has been modified; please apply your changes to the latest version "
                           "and try again")  # fmt: skip
        if meta.get("uid", before["metadata"]["uid"]) != before["metadata"]["uid"]:
            raise conflict(kind, name, "Precondition failed: UID in precondition does not match")
        after = clone(self._as_written(kind, before, obj, subresource, name, namespace))
        self._finish(kind, before, after, subresource, write)
        api_version, now = kind.api_version, timestamp()
        shape = shape_of(kind)
        ownership.updated(
            before, after, write.manager, shape, subresource=subresource, api_version=api_version, now=now
        )
        return Change("UPDATE", kind, record, after, subresource)

    def plan_patch(self, kind, namespace, name, content_type, patch, subresource, write):
        if content_type in APPLY:
            return self.plan_apply(kind, namespace, name, patch, subresource, write)
        before = self.found(kind, namespace, name).obj
        if subresource == "scale":
            return self.plan_scale(kind, namespace, name, self._patched(kind, self.scale(kind, before), content_type,
                                                                        patch), write)  # fmt: skip
        return self.plan_update(kind, namespace, name, self._patched(kind, before, content_type, patch), subresource,
                                write)  # fmt: skip

    def _patched(self, kind, before, content_type, patch):
        if content_type == "application/json-patch+json":
            return patches.json_patch(before, patch)
        if content_type == "application/merge-patch+json":
            return patches.merge(before, patch)
        if content_type == "application/strategic-merge-patch+json":
            if kind.crd is not None:
                raise ApiError(415, "the body of the request was in an unknown format - accepted media types include: "
                               "application/json-patch+json, application/merge-patch+json, "
                               "application/apply-patch+yaml")  # fmt: skip
            return patches.strategic(before, patch, shape_of(kind))
        raise ApiError(415, f"unknown patch type {content_type!r}")

    def plan_apply(self, kind, namespace, name, config, subresource, write):
        meta = config.setdefault("metadata", {})
        if meta.setdefault("name", name) != name:
            raise ApiError(400, "the name of the object does not match the name on the URL")
        if config.get("kind", kind.kind) != kind.kind or config.get("apiVersion", kind.api_version) != kind.api_version:
            raise ApiError(
                400, f"{config.get('apiVersion')} {config.get('kind')} is not {kind.api_version} {kind.kind}"
            )
        if meta.get("managedFields"):
            raise ApiError(400, "metadata.managedFields must be nil")
        if write.manager == "unknown":
            raise ApiError(422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
                           "apply patch")  # fmt: skip
        if subresource == "scale":
            return self.plan_scale(kind, namespace, name, config, write)
        config = {"apiVersion": kind.api_version, "kind": kind.kind, **config}
        self._drop_foreign(kind, config, subresource)
        record = self.store.get(kind.store, namespace if kind.namespaced else "", name)
        if record is None:
            return self._apply_new(kind, namespace, name, config, subresource, write)
        return self._apply_over(kind, record, config, subresource, write)

    def _apply_new(self, kind, namespace, name, config, subresource, write):
        meta = config["metadata"]
        if subresource:
            raise not_found(kind, name)
        if meta.get("uid"):
            raise conflict(kind, name, "uid mismatch: the provided object specified uid, and no existing object")
        meta.pop("resourceVersion", None)
        if kind.namespaced:
            meta["namespace"] = namespace
            self._check_namespace(kind, namespace, name)
        said = {"api_version": kind.api_version, "now": timestamp()}
        after = ownership.applied(None, config, write.manager, shape_of(kind), **said)
        self._fill(kind, after, None, write)
        self._new(kind, after)
        return Change("CREATE", kind, None, after)

    def _apply_over(self, kind, record, config, subresource, write):
        wanted = config["metadata"].pop("resourceVersion", None)
        if wanted and wanted != record.obj["metadata"]["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version"
            raise conflict(kind, record.name, why)
        if kind.crd is not None:
            gone = schemas.prune_object(config, kind)
            if gone and write.strict:
                raise rules.unknown(gone)
        said = {"api_version": kind.api_version, "now": timestamp(), "force": write.force, "subresource": subresource}
        after = clone(ownership.applied(record.obj, config, write.manager, shape_of(kind), **said))
        self._finish(kind, record.obj, after, subresource, write)
        return Change("UPDATE", kind, record, after, subresource)

    def plan_delete(self, kind, namespace, name, options):
        record = self.found(kind, namespace, name)
        wanted = options.get("preconditions") or {}
        meta = record.obj["metadata"]
        for key in ("uid", "resourceVersion"):
            if wanted.get(key, meta[key]) != meta[key]:
                raise conflict(kind, name, f"Precondition failed: {key} in precondition does not match")
        grace = rules.grace(kind, record.obj, options.get("gracePeriodSeconds"))
        after = record.copy()
        if options.get("propagationPolicy") == "Orphan":
            self._orphan(meta["uid"])
        stays = bool(meta.get("finalizers")) or grace > 0 or (kind.kind == "Namespace" and kind.group == "")
        if not stays:
            return Change("DELETE", kind, record, None)
        if "deletionTimestamp" not in meta:
            after["metadata"]["deletionTimestamp"] = timestamp()
        elif grace >= meta.get("deletionGracePeriodSeconds", 0):
            return Change("DELETE", kind, record, record.obj)
        after["metadata"]["deletionGracePeriodSeconds"] = grace
        if kind.kind == "Namespace":
            after.setdefault("status", {})["phase"] = "Terminating"
        return Change("DELETE", kind, record, after)

    def plan_scale(self, kind, namespace, name, scale, write):
        record = self.found(kind, namespace, name)
        wanted = (scale.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != record.obj["metadata"]["resourceVersion"]:
            raise conflict(kind, name, "the object has been modified; please apply your changes to the latest version")
        count = (scale.get("spec") or {}).get("replicas", 0)
        if not isinstance(count, int) or count < 0:
            why = f"Invalid value: {count}: must be greater than or equal to 0"
            raise ApiError(422, f"Scale.autoscaling {name!r} is invalid: spec.replicas: {why}")
        after = record.copy()
        rules.put(after, rules.scale_paths(kind)[0], count)
        self._finish(kind, record.obj, after, "", write)
        ownership.updated(record.obj, after, write.manager, shape_of(kind), subresource="scale",
                          api_version=kind.api_version, now=timestamp())  # fmt: skip
        return Change("UPDATE", kind, record, after, "scale")

    # --- committing ---------------------------------------------------------------------------------------------------
    def commit(self, change, dry_run=False):
        """Returns the record that stands (or stood) there. Raises Stale where somebody else was faster."""
        kind, before, after = change.kind, change.before, change.after
        with self.store.lock:
            meta = (after or before.obj)["metadata"]
            place = meta.get("namespace", ""), meta["name"]
            now = self.store.get(kind.store, *place)
            if now is not before:
                if before is None:
                    raise rules.exists(kind, meta["name"])
                raise Stale
            if dry_run:
                return before if after is None else Record(after, before.rv if before else 0)
            if before is not None and after is not None and rules.same(before.obj, after):
                return before
            if after is None or (before is not None and rules.is_over(kind, after)):
                gone = self.store.drop(kind.store, *place)
                self._served(kind, gone.obj, gone=True)
                return gone
            self._served(kind, after)
            return self.store.put(kind.store, after)

    def found(self, kind, namespace, name):
        record = self.store.get(kind.store, namespace if kind.namespaced else "", name)
        if record is None:
            raise not_found(kind, name)
        return record

    def scale(self, kind, obj):
        spec_path, status_path, selector_path = rules.scale_paths(kind)
        meta = obj["metadata"]
        status = {"replicas": rules.get(obj, status_path) or 0}
        selector = rules.get(obj, selector_path) if selector_path else None
        if isinstance(selector, dict):
            selector = ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
        if selector:
            status["selector"] = selector
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: meta[key] for key in kept if key in meta},
            "spec": {"replicas": rules.get(obj, spec_path) or 0},
            "status": status,
        }

    # --- steps of the above -------------------------------------------------------------------------------------------
    def _check_namespace(self, kind, namespace, name):
        found = self.store.get(("", "namespaces"), "", namespace)
        if found is None:
            raise ApiError(404, f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")
        if "deletionTimestamp" in found.obj["metadata"]:
            causes = [{"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated",
                       "field": "metadata.namespace"}]  # fmt: skip
            raise ApiError(403, f'{kind.qualified} "{name}" is forbidden: unable to create new content in namespace '
                           f"{namespace} because it is being terminated", name=name, kind=kind.plural,
                           group=kind.group, causes=causes)  # fmt: skip

    def _as_written(self, kind, before, obj, subresource, name, namespace):
        """What an update changes: the status alone through its subresource, else everything but the status."""
        has_status = "status" in kind.subresources
        if subresource == "status":
            after = {**before, "metadata": dict(before["metadata"])}
            if "status" in obj:
                after["status"] = obj["status"]
            return after
        after = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": dict(obj["metadata"])}
        meta = after["metadata"] | {"name": name} | ({"namespace": namespace} if kind.namespaced else {})
        for key in _KEPT:
            meta.pop(key, None)
            if key in before["metadata"]:
                meta[key] = before["metadata"][key]
        after["metadata"] = meta
        if has_status:
            after.pop("status", None)
            if "status" in before:
                after["status"] = before["status"]
        return after

    def _drop_foreign(self, kind, config, subresource):
        if subresource == "status":
            for key in set(config) - {"apiVersion", "kind", "metadata", "status"}:
                del config[key]
        elif "status" in kind.subresources:
            config.pop("status", None)

    def _fill(self, kind, obj, before, write):
        if kind.crd is not None:
            gone = schemas.prune_object(obj, kind)
            if gone and write.strict:
                raise rules.unknown(gone)
            schemas.fill(obj, schemas.schema_of(kind))
            schemas.check(obj, kind)
        else:
            defaults.fill(kind, obj, before, self._address)
            if kind.kind == "CustomResourceDefinition":
                schemas.accept(obj)
        defaults.check(kind, obj, before)

    def _finish(self, kind, before, after, subresource, write):
        meta = after["metadata"]
        for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
            if key in before["metadata"]:
                meta[key] = before["metadata"][key]
        self._fill(kind, after, before, write)
        if not subresource and "generation" in meta and rules.spec(kind, before) != rules.spec(kind, after):
            meta["generation"] += 1

    def _new(self, kind, obj):
        meta = obj["metadata"]
        obj.setdefault("apiVersion", kind.api_version)
        obj.setdefault("kind", kind.kind)
        meta["uid"], meta["creationTimestamp"] = str(uuid.uuid4()), timestamp()
        if kind.crd is not None or kind.kind in _GENERATIONS:
            meta["generation"] = 1

    def _served(self, kind, obj, gone=False):
        if kind.kind != "CustomResourceDefinition" or kind.crd is not None:
            return
        if gone:
            self.registry.drop_crd(obj)
            place = obj["spec"]["group"], obj["spec"]["names"]["plural"]
            for record in self.store.list(place):
                self.store.drop(place, record.namespace, record.name)
        elif "deletionTimestamp" not in obj["metadata"]:
            schemas.established(obj, timestamp())
            self.registry.add_crd(obj)

    def _orphan(self, uid):
        for store, records in list(self.store.objects.items()):
            for record in list(records.values()):
                owners = record.obj["metadata"].get("ownerReferences") or []
                if any(owner["uid"] == uid for owner in owners):
                    obj = record.copy()
                    obj["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
                    self.store.put(store, obj)

    def _address(self):
        self._addresses += 1
        return f"{self._services}.{self._addresses % 254 + 1}"
