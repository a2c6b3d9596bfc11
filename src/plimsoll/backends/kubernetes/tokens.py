"""Whether a token is a gateway's: the API server says whose it is (TokenReview). No token is kept or logged."""

from plimsoll.backends.kubernetes.api import Api, path_of
from plimsoll.backends.kubernetes.names import CONTROLLER, GATEWAY


class GatewayTokens:
    """`namespace`: of the gateways' ServiceAccount."""

    def __init__(self, api: Api, namespace: str, *, account: str = GATEWAY, audience: str = CONTROLLER) -> None:
        self._api, self._audience = api, audience
        self._user = f"system:serviceaccount:{namespace}:{account}"

    async def check(self, token: str) -> bool:
        """Raises ApiError or Unreachable where the API server can't be asked."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        answer = await self._api.post(path_of("authentication.k8s.io/v1", "tokenreviews"), review)
        status = answer.get("status") or {}
        if not status.get("authenticated") or self._audience not in (status.get("audiences") or ()):
            return False
        return bool((status.get("user") or {}).get("username") == self._user)
