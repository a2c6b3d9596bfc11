"""Validating admission webhooks: asked before a change is committed. Their service or url leads to a local port."""

import base64
import ssl
import uuid

import aiohttp
from tests.kube import selectors
from tests.kube.errors import ApiError

_CONFIGURATIONS = ("admissionregistration.k8s.io", "validatingwebhookconfigurations")


class Webhooks:
    def __init__(self, api, services):
        self._api, self._services = api, services

    async def ask(self, change, user, dry_run=False):
        """Raises ApiError where one says no."""
        if change.kind.group == "admissionregistration.k8s.io":
            return
        for record in self._api.store.list(_CONFIGURATIONS):
            for webhook in record.obj.get("webhooks") or ():
                if self._concerns(webhook, change):
                    await self._ask_one(webhook, change, user, dry_run)

    def _concerns(self, webhook, change):
        kind = change.kind
        resource = f"{kind.plural}/{change.subresource}" if change.subresource else kind.plural
        wanted = (("operations", change.operation), ("apiGroups", kind.group), ("apiVersions", kind.version))
        for rule in webhook.get("rules") or ():
            if not (resource in rule["resources"] or "*" in rule["resources"] or "*/*" in rule["resources"]):
                continue
            if all("*" in rule[key] or value in rule[key] for key, value in wanted):
                break
        else:
            return False
        obj = change.after or change.before.obj
        if not selectors.matches(webhook.get("objectSelector") or {}, obj["metadata"].get("labels") or {}):
            return False
        namespace = self._api.store.get(("", "namespaces"), "", obj["metadata"].get("namespace", ""))
        return namespace is None or selectors.matches(webhook.get("namespaceSelector") or {}, namespace.labels)

    async def _ask_one(self, webhook, change, user, dry_run):
        try:
            response = await self._call(webhook, _review(change, user, dry_run))
        except (OSError, aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
            if webhook.get("failurePolicy", "Fail") == "Ignore":
                return
            raise ApiError(500, f'failed calling webhook "{webhook["name"]}": {error!r}') from None
        if not response.get("allowed"):
            status = response.get("status") or {}
            message = status.get("message", "without explanation")
            text = f'admission webhook "{webhook["name"]}" denied the request: {message}'
            raise ApiError(status.get("code") or 403, text, status.get("reason"))

    async def _call(self, webhook, review):
        client = webhook["clientConfig"]
        context = ssl.create_default_context()
        if bundle := client.get("caBundle"):
            context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        name = None
        if url := client.get("url"):
            target = url
        else:
            service = client["service"]
            host, port = self._services.find(service["namespace"], service["name"], service.get("port", 443))
            name = f"{service['name']}.{service['namespace']}.svc"
            target = f"https://{host}:{port}{service.get('path') or '/'}"
        limit = aiohttp.ClientTimeout(total=webhook.get("timeoutSeconds", 10))
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(target, json=review, ssl=context, server_hostname=name) as answer,
        ):
            answer.raise_for_status()
            return (await answer.json())["response"]


def _review(change, user, dry_run):
    kind, obj = change.kind, change.after
    before = change.before.obj if change.before is not None else None
    meta = (obj or before)["metadata"]
    request = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
        "subResource": change.subresource,
        "name": meta["name"],
        "namespace": meta.get("namespace", ""),
        "operation": change.operation,
        "userInfo": user.info,
        "object": None if change.operation == "DELETE" else obj,
        "oldObject": before,
        "dryRun": dry_run,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
