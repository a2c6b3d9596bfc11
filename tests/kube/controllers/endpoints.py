"""EndpointSlices of Services with a selector, at most 100 pods each: ready, serving, terminating as Kubernetes says."""

from tests.kube import selectors
from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller
from tests.kube.errors import ApiError

SERVICES, SLICES = ("", "services"), ("discovery.k8s.io", "endpointslices")
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
MAX = 100


class EndpointSlices(Controller):
    stores = (SERVICES, SLICES, pods.PODS)

    def keys(self, event):
        record = event.record
        if event.store == SERVICES:
            yield record.namespace, record.name
        elif event.store == SLICES:
            if event.type != "ADDED" and SERVICE_NAME in record.labels:
                yield record.namespace, record.labels[SERVICE_NAME]
        else:
            labels = [one.labels for one in (record, event.before) if one is not None]
            for service in self.api.store.list(SERVICES, record.namespace):
                selector = service.obj["spec"].get("selector")
                if selector and any(selectors.matches({"matchLabels": selector}, found) for found in labels):
                    yield service.namespace, service.name

    def reconcile(self, key):
        service = self.api.store.get(SERVICES, *key)
        if service is None or not service.obj["spec"].get("selector"):
            return
        selector = {"matchLabels": service.obj["spec"]["selector"]}
        found = [
            pod.obj
            for pod in self.api.store.list(pods.PODS, key[0])
            if selectors.matches(selector, pod.labels)
            and (pod.obj.get("status") or {}).get("podIP")
            and not pods.is_over(pod.obj)
        ]
        groups = [found[start : start + MAX] for start in range(0, len(found), MAX)] or [[]]
        names = []
        for place, group in enumerate(groups):
            names.append(f"{key[1]}-{service.obj['metadata']['uid'][:4]}{place}")
            self._write(service.obj, names[-1], group)
        for piece in self.api.store.owned_by(service.obj["metadata"]["uid"], SLICES):
            if piece.name not in names:
                self.api.delete_now(self.api.kind("discovery.k8s.io/v1", "EndpointSlice"), key[0], piece.name)

    def _write(self, service, name, group):
        meta = service["metadata"]
        labels = {**(meta.get("labels") or {}), **MANAGED_BY, SERVICE_NAME: meta["name"]}
        if service["spec"].get("clusterIP") == "None":
            labels["service.kubernetes.io/headless"] = ""
        publish = service["spec"].get("publishNotReadyAddresses", False)
        body = {
            "addressType": "IPv4",
            "endpoints": [_endpoint(pod, publish) for pod in group],
            "ports": [_port(port, group) for port in service["spec"].get("ports") or ()],
        }

        def change(found):
            found.update(body)
            found["metadata"]["labels"] = labels

        kind = self.api.kind("discovery.k8s.io/v1", "EndpointSlice")
        if self.api.change_now(kind, meta["namespace"], name, change) is None:
            owner = pods.reference(service | {"apiVersion": "v1", "kind": "Service"})
            new = {"name": name, "namespace": meta["namespace"], "labels": labels, "ownerReferences": [owner]}
            try:
                self.api.create_now("discovery.k8s.io/v1", "EndpointSlice", {"metadata": new, **body})
            except ApiError as error:
                if error.code != 403:  # a namespace that ends
                    raise


def _endpoint(pod, publish):
    meta = pod["metadata"]
    ready, going = pods.is_ready(pod), "deletionTimestamp" in meta
    conditions = {"ready": publish or (ready and not going), "serving": ready, "terminating": going}
    target = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": conditions,
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": target,
    }


def _port(port, group):
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        named = [
            one["containerPort"]
            for pod in group
            for container in pod["spec"]["containers"]
            for one in container.get("ports") or ()
            if one.get("name") == target
        ]
        target = named[0] if named else None
    found = {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": target}
    if "appProtocol" in port:
        found["appProtocol"] = port["appProtocol"]
    return found
