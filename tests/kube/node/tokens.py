"""ServiceAccounts' tokens for a pod, by TokenRequest and bound to it; kept for four fifths of their time."""

import time

from tests.kube.node.reflector import insistent
from tests.kube.node.volumes import MissingSource

LEAST_S = 600  # a real API server refuses shorter ones


class Tokens:
    def __init__(self, client, pod):
        self._client = client
        meta = pod["metadata"]
        self._bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        self._account = pod["spec"].get("serviceAccountName") or "default"
        self._path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{self._account}/token"
        self._kept = {}

    async def get(self, audience, seconds):
        """`audience` "": the API server's. Raises MissingSource where there is no such account."""
        token, until = self._kept.get(audience, ("", 0.0))
        if time.monotonic() < until:
            return token
        seconds = max(LEAST_S, seconds)
        spec = {"expirationSeconds": seconds, "boundObjectRef": self._bound}
        if audience:
            spec["audiences"] = [audience]
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await insistent(lambda: self._client.request("POST", self._path, asked))
        if answer is None:
            raise MissingSource(f'serviceaccount "{self._account}" not found')
        self._kept[audience] = answer["status"]["token"], time.monotonic() + 0.8 * seconds
        return answer["status"]["token"]
