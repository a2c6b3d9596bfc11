"""What the controllers measured of each service, asked from their page `/plimsoll/status`."""

import logging
from collections.abc import Mapping
from typing import Any

import httpx2
import msgspec

from plimsoll.backends.kubernetes.operator.seen import Figures, ServiceKey, figures_of

LOG = logging.getLogger(__name__)

PATH = "/plimsoll/status"


class FiguresPage:
    """`problem`: why nothing is known now; "" while all is well."""

    def __init__(self, url: str) -> None:
        self.problem = ""
        self._url = url
        self._http = httpx2.AsyncClient(timeout=3.0, trust_env=False)

    async def ask(self) -> Mapping[ServiceKey, Figures] | None:
        """None where no controller answers: what it said before stays, with its time."""
        try:
            answer = await self._http.get(self._url)
            answer.raise_for_status()
            found = msgspec.json.decode(answer.content)
            said = {ServiceKey(str(one["namespace"]), str(one["name"])): figures_of(one) for one in found}
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError, TypeError, KeyError, AttributeError) as error:
            self._trouble(f"{self._url} says nothing of budgets: {str(error) or type(error).__name__}")
            return None
        self._trouble("")
        return said

    async def close(self) -> None:
        await self._http.aclose()

    def _trouble(self, text: str) -> None:
        if text and not self.problem:
            LOG.info("%s", text)
        self.problem = text


def worth_a_look(before: Figures | None, now: Figures | None) -> bool:
    """Whether what it says could change a status. Small changes of a figure can't (`status.Writing`)."""
    if before is None or now is None:
        return before is not now
    if (before.desired, before.within_budget) != (now.desired, now.within_budget):
        return True
    return any(_differs(getattr(before, name), getattr(now, name)) for name in _MEASURED)


_MEASURED = ("p50_s", "p95_s", "p99_s", "requests_per_s", "error_rate")


def _differs(before: Any, now: Any) -> bool:
    if before is None or now is None:
        return before is not now
    return bool(abs(now - before) > 0.02 * max(abs(before), 1e-9))
