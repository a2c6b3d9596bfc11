"""The aggregation layer: requests for an APIService's group go to its Service, with a front-proxy certificate and the
caller's name in headers; every second each is asked whether it answers."""

import asyncio
import base64
import json
import ssl

import aiohttp
from tests.kube.access import User
from tests.kube.api import timestamp
from tests.kube.errors import ApiError

STORE = ("apiregistration.k8s.io", "apiservices")
_LOCAL = User("system:kube-aggregator", ("system:masters",))


class Aggregation:
    """`front_proxy`: the Authority whose certificates aggregated servers trust; its CA stands in the ConfigMap
    kube-system/extension-apiserver-authentication."""

    def __init__(self, api, services, front_proxy, client_ca):
        self._api, self._services = api, services
        self._files = front_proxy.sign("front-proxy-client")
        data = {
            "client-ca-file": client_ca.read_text(),
            "requestheader-client-ca-file": front_proxy.cert.read_text(),
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        meta = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
        api.create_now("v1", "ConfigMap", {"metadata": meta, "data": data})
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"],
                "resourceNames": [meta["name"]]}  # fmt: skip
        role = {"name": "extension-apiserver-authentication-reader", "namespace": "kube-system"}
        api.create_now("rbac.authorization.k8s.io/v1", "Role", {"metadata": role, "rules": [rule]})

    def find(self, group, version):
        """The APIService of another server's group, None where this server answers itself."""
        record = self._api.store.get(STORE, "", f"{version}.{group}")
        return record.obj if record is not None and record.obj["spec"].get("service") else None

    def groups(self):
        """{group: [versions]} of those that answer."""
        found = {}
        for record in self._api.store.list(STORE):
            if record.obj["spec"].get("service") and is_available(record.obj):
                found.setdefault(record.obj["spec"]["group"], []).append(record.obj["spec"]["version"])
        return found

    async def forward(self, service, method, path, query, body, user, content_type="application/json"):
        """(code, bytes)"""
        spec = service["spec"]
        place = spec["service"]
        if not is_available(service) and user is not _LOCAL:
            raise ApiError(503, "the server is currently unable to handle the request")
        host, port = self._services.find(place["namespace"], place["name"], place.get("port", 443))
        headers = [("X-Remote-User", user.name), *(("X-Remote-Group", group) for group in user.groups)]
        headers += [("Accept", "application/json"), ("Content-Type", content_type)]
        limit = aiohttp.ClientTimeout(total=10)
        name = f"{place['name']}.{place['namespace']}.svc"
        url = f"https://{host}:{port}{path}"
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(method, url, params=query, data=body or None, headers=headers, ssl=self._tls(spec),
                            server_hostname=name) as answer,
        ):  # fmt: skip
            return answer.status, await answer.read()

    def _tls(self, spec):
        context = ssl.create_default_context()
        if spec.get("insecureSkipTLSVerify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif bundle := spec.get("caBundle"):
            context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        context.load_cert_chain(*self._files)
        return context

    async def get(self, path, user, **query):
        """What an aggregated API answers to a GET, decoded; for the autoscaler."""
        _, _, group, version, *_ = path.split("/")
        service = self.find(group, version)
        if service is None:
            raise ApiError(404, "the server could not find the requested resource")
        try:
            code, raw = await self.forward(service, "GET", path, query, None, user)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(503, str(error)) from None
        if code != 200:
            raise ApiError(code, raw.decode(errors="replace")[:300])
        return json.loads(raw)

    # --- availability -------------------------------------------------------------------------------------------------
    async def run(self):
        heard, _, end = self._api.store.queue(STORE, asyncio.get_running_loop())
        try:
            while True:
                for record in self._api.store.list(STORE):
                    if record.obj["spec"].get("service"):
                        await self._check(record.obj)
                # soon after something changed, else every second
                while not heard.empty():
                    heard.get_nowait()
                try:
                    async with asyncio.timeout(1.0):
                        await heard.get()
                except TimeoutError:
                    pass
        finally:
            end()

    async def _check(self, service):
        spec = service["spec"]
        status, reason, message = "True", "Passed", "all checks passed"
        try:
            code, _ = await self.forward(service, "GET", f"/apis/{spec['group']}/{spec['version']}", {}, None, _LOCAL)
            if code != 200:
                status, reason, message = "False", "FailedDiscoveryCheck", f"bad status: {code}"
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            status, reason, message = "False", "FailedDiscoveryCheck", f"failing or missing response: {error}"
        condition = {"type": "Available", "status": status, "reason": reason, "message": message}
        old = next(iter((service.get("status") or {}).get("conditions") or ()), {})
        if {key: old.get(key) for key in condition} != condition:
            since = old["lastTransitionTime"] if old.get("status") == status else timestamp()

            def change(obj):
                obj["status"] = {"conditions": [{**condition, "lastTransitionTime": since}]}

            kind = self._api.kind("apiregistration.k8s.io/v1", "APIService")
            self._api.change_now(kind, "", service["metadata"]["name"], change, "status")


def is_available(service):
    conditions = (service.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)
