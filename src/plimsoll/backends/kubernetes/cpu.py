"""How much CPU pods use, from the cluster's own metrics API: for policy HPA on CPU, whose own source it is."""

import asyncio
import logging
import re
from collections.abc import Callable, Collection

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.names import SERVICE_LABEL

LOG = logging.getLogger(__name__)

_EVERY_S = 15.0  # as the HPA; metrics-server itself looks no oftener
_AMOUNT = re.compile(r"([0-9.]+)(n|u|m)?\Z")
_UNITS = {None: 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Cores = dict[tuple[str, str], float]


class CpuUse:
    """Asks only for the namespaces that `wanted` names, and not at all where there are none. `tell(cores)`: in use by
    namespace and pod."""

    def __init__(self, api: Api, wanted: Callable[[], Collection[str]], tell: Callable[[Cores], None]) -> None:
        self.problem = ""
        self._api, self._wanted, self._tell = api, wanted, tell

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        cores: Cores = {}
        problem = ""
        for namespace in sorted(self._wanted()):
            try:
                found = await self._api.get(
                    path_of("metrics.k8s.io/v1beta1", "pods", namespace), {"labelSelector": SERVICE_LABEL}
                )
            except (ApiError, Unreachable) as error:
                problem = f"CPU use in {namespace} is not known: {error}; policy HPA on CPU holds its counts"
                continue
            for pod in found.get("items") or ():
                used = [parse_cores(str((one.get("usage") or {}).get("cpu") or "")) for one in pod["containers"]]
                cores[namespace, pod["metadata"]["name"]] = sum(used)
        if problem and problem != self.problem:
            LOG.warning("%s", problem)
        self.problem = problem
        if cores or problem:
            self._tell(cores)


def parse_cores(text: str) -> float:
    """`12345678n`, `250m`, `2`; 0 for what is none."""
    match = _AMOUNT.match(text)
    return float(match[1]) * _UNITS[match[2]] if match else 0.0
