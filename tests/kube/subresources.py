"""Subresources that are no part of their object: tokens, evictions, bindings, logs."""

import ssl

import aiohttp
from tests.kube import selectors
from tests.kube.api import Stale
from tests.kube.controllers import pods
from tests.kube.errors import ApiError


class Subresources:
    own = ("token", "eviction", "binding", "log", "finalize")

    def __init__(self, api, access):
        self._api, self._access = api, access

    async def answer(self, request):
        return await getattr(self, "_" + request.subresource)(request)

    async def _token(self, request):
        self._api.found(request.kind, request.namespace, request.name)
        spec = request.document().get("spec") or {}
        status = self._access.issue(request.namespace, request.name, spec)
        return 201, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                     "metadata": {"name": request.name, "namespace": request.namespace}, "spec": spec,
                     "status": status}  # fmt: skip

    async def _eviction(self, request):
        """429 where a PodDisruptionBudget would be broken: by what its status allows, and by the pods that are there in
        this moment, since several may be evicted before the status says so."""
        record = self._api.found(request.kind, request.namespace, request.name)
        for budget in self._api.store.list(("policy", "poddisruptionbudgets"), request.namespace):
            if not selectors.matches(budget.obj["spec"].get("selector"), record.labels):
                continue
            status = budget.obj.get("status") or {}
            healthy = sum(
                pods.is_ready(one.obj) and "deletionTimestamp" not in one.obj["metadata"]
                for one in self._api.store.list(pods.PODS, request.namespace)
                if selectors.matches(budget.obj["spec"].get("selector"), one.labels)
            )
            if min(status.get("disruptionsAllowed", 0), healthy - status.get("desiredHealthy", 0)) < 1:
                raise ApiError(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                  "message": "Eviction API: evicting"}  # fmt: skip

        def mark(pod):
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [*(one for one in conditions if one["type"] != target["type"]), target]

        self._api.change_now(request.kind, request.namespace, request.name, mark, "status")
        grace = (request.document().get("deleteOptions") or {}).get("gracePeriodSeconds")
        self._api.delete_now(request.kind, request.namespace, request.name, grace)
        return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    async def _binding(self, request):
        target = request.document()["target"]["name"]

        def bind(pod):
            if pod["spec"].get("nodeName"):
                raise ApiError(409, f"pod {request.name} is already assigned to node {pod['spec']['nodeName']}")
            pod["spec"]["nodeName"] = target
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [one for one in conditions if one["type"] != "PodScheduled"]
            conditions.append({"type": "PodScheduled", "status": "True"})

        with self._api.store.lock:
            record = self._api.found(request.kind, request.namespace, request.name)
            pod = record.copy()
            bind(pod)
            self._api.store.put(request.kind.store, pod)
        return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    async def _finalize(self, request):
        def finalize(namespace):
            namespace.setdefault("spec", {})["finalizers"] = request.document().get("spec", {}).get("finalizers") or []

        while True:
            try:
                record = self._api.change_now(request.kind, "", request.name, finalize)
            except Stale:
                continue
            if record is None:
                raise ApiError(404, f'namespaces "{request.name}" not found')
            return 200, record.obj

    async def _log(self, request):
        """Passed on from the node, as a real server does: https to its address and kubelet port."""
        pod = self._api.found(request.kind, request.namespace, request.name).obj
        container = request.query.get("container") or pod["spec"]["containers"][0]["name"]
        node = self._api.store.get(("", "nodes"), "", pod["spec"].get("nodeName", ""))
        if node is None:
            raise ApiError(400, f'container "{container}" in pod "{request.name}" is waiting to start')
        status = node.obj.get("status") or {}
        host = next((one["address"] for one in status.get("addresses") or ()), None)
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        if not host or not port:
            raise ApiError(500, f"node {node.name} serves no logs")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://{host}:{port}/containerLogs/{request.namespace}/{request.name}/{container}"
        query = {key: value for key, value in request.query.items() if key != "container"}
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))
        try:
            answer = await session.get(url, params=query, ssl=context)
            if answer.status != 200:
                raise ApiError(answer.status, (await answer.read()).decode(errors="replace"))
        except BaseException as error:
            await session.close()
            if isinstance(error, aiohttp.ClientError):
                raise ApiError(500, f"Get {url!r}: {error}") from None
            raise
        return 200, _stream(session, answer)


async def _stream(session, answer):
    """What the node says, as long as it says something."""
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    finally:
        await session.close()
