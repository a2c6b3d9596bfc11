"""A registry of metric families: plain cells for the hot path, Prometheus text when somebody scrapes.

    metrics = Metrics()
    requests = metrics.counter("plimsoll_requests_total", "…", ("service", "outcome"))
    ok = requests.labels("digits", "ok")  # once
    ok.value += 1                         # a request: 0.03 us

prometheus_client is imported by the first scrape; nothing is registered globally, so a process may hold several.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from plimsoll.telemetry.buckets import LATENCY_BOUNDS_S, BucketHistogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Cell:
    """One number. May have a `read` instead, asked at each scrape."""

    __slots__ = ("read", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.read: Callable[[], float] | None = None


CellT = TypeVar("CellT", bound=Cell | BucketHistogram)


class Family(Generic[CellT]):
    """`unit` is for the documentation: the name ends with it, as Prometheus wants."""

    def __init__(
        self, kind: str, name: str, meaning: str, labelnames: Sequence[str], make: Callable[[], CellT], unit: str
    ) -> None:
        self.kind, self.name, self.meaning, self.unit = kind, name, meaning, unit
        self.labelnames = tuple(labelnames)
        self._make = make
        self._cells: dict[tuple[str, ...], CellT] = {}

    def labels(self, *values: str) -> CellT:
        """The cell of these label values, made when first asked for. Look it up once and keep it."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labelnames):
                raise ValueError(f"{self.name} has the labels {self.labelnames}, got {values}")
            cell = self._cells[values] = self._make()
        return cell

    def forget(self, *values: str) -> None:
        """Drops the cells whose first labels are `values`: of a service that is gone."""
        for key in [key for key in self._cells if key[: len(values)] == values]:
            del self._cells[key]

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], CellT]]:
        return iter(list(self._cells.items()))


class Metrics:
    """All families of one process."""

    def __init__(self) -> None:
        self.families: dict[str, Family[Any]] = {}

    def counter(self, name: str, meaning: str, labelnames: Sequence[str] = (), *, unit: str = "") -> Family[Cell]:
        if not name.endswith("_total"):
            raise ValueError(f"{name}: a counter's name ends with _total")
        return self._add(Family("counter", name, meaning, labelnames, Cell, unit))

    def gauge(
        self,
        name: str,
        meaning: str,
        labelnames: Sequence[str] = (),
        *,
        unit: str = "",
        read: Callable[[], float] | None = None,
    ) -> Family[Cell]:
        """Set `labels(…).value`, or `labels(…).read`; `read` here is for a gauge without labels."""
        family = self._add(Family("gauge", name, meaning, labelnames, Cell, unit))
        if read is not None:
            family.labels().read = read
        return family

    def histogram(
        self,
        name: str,
        meaning: str,
        labelnames: Sequence[str] = (),
        *,
        unit: str = "seconds",
        bounds: Sequence[float] = LATENCY_BOUNDS_S,
    ) -> Family[BucketHistogram]:
        return self._add(Family("histogram", name, meaning, labelnames, lambda: BucketHistogram(bounds), unit))

    def _add(self, family: Family[CellT]) -> Family[CellT]:
        if family.name in self.families:
            raise ValueError(f"{family.name} is there already")
        self.families[family.name] = family
        return family

    def collect(self) -> "Iterator[Metric]":
        """prometheus_client's custom collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for family in self.families.values():
            if family.kind == "counter":
                counter = CounterMetricFamily(family.name, family.meaning, labels=family.labelnames)
                for values, cell in family:
                    counter.add_metric(values, cell.value if cell.read is None else cell.read())
                yield counter
            elif family.kind == "gauge":
                gauge = GaugeMetricFamily(family.name, family.meaning, labels=family.labelnames)
                for values, cell in family:
                    gauge.add_metric(values, cell.value if cell.read is None else cell.read())
                yield gauge
            else:
                histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labelnames)
                for values, cell in family:
                    histogram.add_metric(values, cell.cumulative(), cell.sum)
                yield histogram

    def render(self, openmetrics: bool = False) -> tuple[str, bytes]:
        """(content type, body) of `/metrics`."""
        if openmetrics:
            from prometheus_client.openmetrics.exposition import generate_latest as generate

            return OPENMETRICS, generate(self)  # type: ignore[no-untyped-call]  # only partly annotated
        from prometheus_client import generate_latest

        return TEXT, generate_latest(self)


def wants_openmetrics(accept: bytes | str | None) -> bool:
    """Whether a scraper's `Accept` asks for OpenMetrics; everybody else gets the text format."""
    text = accept.decode("latin-1") if isinstance(accept, bytes) else accept or ""
    return "application/openmetrics-text" in text
