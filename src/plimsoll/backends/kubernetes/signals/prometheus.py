"""Figures from a Prometheus, where there is one: what replicas can't measure themselves, such as a GPU's use.

Every signal comes from gateways and replicas without it; a query adds to them; one that fails leaves its figure out.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx2

from plimsoll.core.errors import HostError

LOG = logging.getLogger(__name__)

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
    """By its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/). `url`: before /api/v1/query.
    `folder`: a mounted Secret with `token`, read at each query, and `ca.crt`, read once; either may be missing. Raises
    HostError for a ca.crt that is none."""

    def __init__(self, url: str, *, folder: str = "", transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._url, self._token = f"{url.rstrip('/')}/api/v1/query", Path(folder, "token") if folder else None
        authority = Path(folder, "ca.crt")
        try:
            verify = ssl.create_default_context(cafile=authority) if folder and authority.exists() else True
        except (ssl.SSLError, OSError) as error:
            raise HostError(f"{authority} can't be used: {error}; it must hold PEM certificates") from error
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT_S, verify=verify, transport=transport)

    async def query(self, expression: str) -> Sequence[Sample]:
        try:
            token = await asyncio.to_thread(self._read_token)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
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

    def _read_token(self) -> str:
        try:
            return "" if self._token is None else self._token.read_text().strip()
        except FileNotFoundError:  # who needs none has none; who needs one is refused, with Prometheus' own words
            return ""


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
