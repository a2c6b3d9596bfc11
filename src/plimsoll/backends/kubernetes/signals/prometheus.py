"""Figures from a Prometheus, where there is one: what replicas can't measure themselves, such as a GPU's use.

Every signal comes from gateways and replicas without it; a query adds to them; one that fails leaves its figure out.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx2

from plimsoll.core.errors import HostError

LOG = logging.getLogger(__name__)

# NVIDIA's DCGM exporter, per pod; the HTTP API is https://prometheus.io/docs/prometheus/latest/querying/api/
GPU_QUERY = 'avg by (namespace, pod) (DCGM_FI_DEV_GPU_UTIL{pod!=""}) / 100'
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


class QuerySource(Protocol):
    """Something that answers queries: Prometheus, or what speaks its API."""

    async def query(self, expression: str) -> Sequence[Sample]:
        """An instant vector. Raises HostError."""
        ...


class Prometheus:
    """`url`: before /api/v1/query. `token_file`: of a bearer token, read at each query."""

    def __init__(
        self, url: str, *, token_file: str = "", ca_file: str = "", transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._url, self._token_file = f"{url.rstrip('/')}/api/v1/query", token_file
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT_S, verify=ca_file or True, transport=transport)

    async def query(self, expression: str) -> Sequence[Sample]:
        headers = {}
        try:
            if self._token_file:
                token = await asyncio.to_thread(Path(self._token_file).read_text)
                headers["Authorization"] = f"Bearer {token.strip()}"
            answer = await self._http.get(self._url, params={"query": expression}, headers=headers)
            found = answer.json()
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise HostError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        if answer.status_code != 200 or found.get("status") != "success":
            raise HostError(f"{self._url} refuses {expression!r}: {found.get('error') or answer.status_code}")
        result = (found.get("data") or {}).get("result") or ()
        return [
            Sample(one.get("metric") or {}, value) for one in result if (value := _number(one.get("value"))) is not None
        ]

    async def close(self) -> None:
        await self._http.aclose()


@dataclass(slots=True)
class Queried:
    """A figure for each service, from queries by the figure's name. A sample belongs to a service by its labels
    `namespace` and `service`, or by `pod`; of several the mean counts. `service_of(namespace, pod)`: NAME or None."""

    source: QuerySource
    queries: Mapping[str, str]
    service_of: Callable[[str, str], str | None]
    every_s: float = 15.0
    problem: str = ""
    _figures: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def of(self, namespace: str, name: str) -> Mapping[str, float]:
        return self._figures.get((namespace, name), {})

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.every_s)

    async def look(self) -> None:
        figures: dict[tuple[str, str], dict[str, float]] = {}
        problem = ""
        for name, expression in self.queries.items():
            try:
                samples = await self.source.query(expression)
            except HostError as error:
                problem = str(error)
                continue
            values: dict[tuple[str, str], list[float]] = {}
            for sample in samples:
                if (key := self._key(sample)) is not None:
                    values.setdefault(key, []).append(sample.value)
            for key, several in values.items():
                figures.setdefault(key, {})[name] = sum(several) / len(several)
        if problem and problem != self.problem:
            LOG.warning("%s; that figure is left out", problem)
        self.problem, self._figures = problem, figures

    def _key(self, sample: Sample) -> tuple[str, str] | None:
        namespace = sample.labels.get("exported_namespace") or sample.labels.get("namespace") or ""
        pod = sample.labels.get("exported_pod") or sample.labels.get("pod")
        service = self.service_of(namespace, pod) if pod else sample.labels.get("service")
        return (namespace, service) if service else None


def _number(pair: object) -> float | None:
    try:
        value = float(pair[1])  # type: ignore[index]
    except (TypeError, ValueError, IndexError):
        return None
    return value if value == value and abs(value) != float("inf") else None
