"""What a node class can hold of each service, and which nodes to ask for: sizes, prices and packing as plain sums.

Amounts are whole millionths, as Kubernetes counts in whole thousandths: a tenth of a core taken ten times and given
back ten times leaves exactly what was there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, exp, isinf, isnan, log

import numpy as np

from plimsoll.core.errors import UserError
from plimsoll.core.units import format_bytes
from plimsoll.sim.draws import generator
from plimsoll.sim.scenario import NodeClass, Service

MANY = 1_000_000  # replicas on a node that bounds nothing they need
_UNITS = 1_000_000
_BOUNDLESS = 10**30
_Z90 = 1.2815515655446004  # the standard normal's 90th percentile
_PROVISIONING, _FAILURES = 11, 12  # streams beside those in `draws`
_GPU = "gpu"


def fits(free: Sequence[int], need: Sequence[int]) -> int:
    """How many replicas that need `need` have room in `free`."""
    most = MANY
    for there, wanted in zip(free, need, strict=True):
        if wanted and there // wanted < most:
            most = there // wanted
    return most


@dataclass(slots=True, eq=False)
class Kind:
    """A node class, prepared. `capacity` by resource; `holds`: replicas of each service on an empty node; `odd`: how
    many resources it has that the service doesn't need. `power`: the share of a node's power range that a replica of
    each service accounts for if all it was given is busy; `batch_power`: while a batch runs. `ready`, `coming`: nodes
    there and asked for. `gone_s`: node-seconds of those that are gone; `active_s`: node-seconds at full power."""

    index: int
    spec: NodeClass
    capacity: tuple[int, ...]
    holds: tuple[int, ...]
    odd: tuple[int, ...]
    power: tuple[float, ...]
    batch_power: tuple[float, ...]
    takes: Callable[[], float]
    lasts: Callable[[], float] | None
    ready: int = 0
    coming: int = 0
    gone_s: float = 0.0
    active_s: float = 0.0

    @property
    def open(self) -> bool:
        """One more may be asked for."""
        return self.spec.most is None or self.ready + self.coming < self.spec.most

    @property
    def lead(self) -> tuple[float, float]:
        """Median and 90th percentile of what a node takes to come, seconds."""
        median = self.spec.provisioning_s
        return median, max(median, self.spec.provisioning_p90_s or 0.0)


class Sizes:
    """Needs and capacities in the same order of resources, checked.

    Raises UserError that names the class or the service and says what to change."""

    def __init__(self, services: Sequence[Service], classes: Sequence[NodeClass], seed: int) -> None:
        _check(classes)
        self.resources = sorted({name for service in services for name, need in service.needs.items() if need > 0})
        self.needs = [self._amounts(service.needs, up=True) for service in services]
        self.kinds = [self._kind(index, one, services, seed) for index, one in enumerate(classes)]
        for index, service in enumerate(services):
            if not any(kind.holds[index] and kind.spec.most != 0 for kind in self.kinds):
                raise UserError(self._too_large(service, classes))
        self.order = sorted(range(len(services)), key=lambda one: (-services[one].priority, -self._size(one), one))

    def _amounts(self, given: dict[str, float], *, up: bool) -> tuple[int, ...]:
        return tuple(_whole(given.get(name, 0.0), up=up) for name in self.resources)

    def _kind(self, index: int, spec: NodeClass, services: Sequence[Service], seed: int) -> Kind:
        capacity = self._amounts(spec.capacity, up=False)
        by = _powered(spec)
        has = {name for name, amount in spec.capacity.items() if amount > 0}
        return Kind(
            index,
            spec,
            capacity,
            holds=tuple(fits(capacity, need) for need in self.needs),
            odd=tuple(
                sum(name not in self.resources or not need[self.resources.index(name)] for name in has)
                for need in self.needs
            ),
            power=tuple(_share(one.needs.get(by, 0.0), spec.capacity.get(by)) for one in services),
            batch_power=tuple(
                _share(one.profile.cpu if by == "cpu" else one.needs.get(by, 0.0), spec.capacity.get(by))
                for one in services
            ),
            takes=_provisioning(spec, generator(seed, index, _PROVISIONING)),
            lasts=_lifetime(spec, generator(seed, index, _FAILURES)),
        )

    def _size(self, service: int) -> float:
        """The largest share of the largest node that it takes: large ones are placed first."""
        largest = [max(kind.capacity[at] for kind in self.kinds) for at in range(len(self.resources))]
        return max((need / most for need, most in zip(self.needs[service], largest, strict=True) if most), default=0.0)

    def _too_large(self, service: Service, classes: Sequence[NodeClass]) -> str:
        """Names what each class lacks, and no more."""
        need = service.needs
        lacking = [
            [name for name in self.resources if one.capacity.get(name, 0.0) < need.get(name, 0.0)] for one in classes
        ]
        needs = sorted({name for names in lacking for name in names})
        there = [
            "none may be had"
            if one.most == 0
            else ", ".join(_amount(name, one.capacity.get(name, 0.0)) for name in names)
            for one, names in zip(classes, lacking, strict=True)
        ]
        return (
            f"service {service.name}: no node class has room for a replica, which needs "
            f"{', '.join(_amount(name, need[name]) for name in needs) or 'a node'} "
            f"({'; '.join(f'{one.name}: {what}' for one, what in zip(classes, there, strict=True))}); "
            "lower its requests, or add a larger node class"
        )


def cheapest(kinds: Sequence[Kind], service: int, count: int) -> Kind | None:
    """Of those that may still grow and hold the service: the least price for each of `count` replicas that one node
    takes; then the soonest, then the one with the least beside what is needed."""
    found = [kind for kind in kinds if kind.holds[service] and kind.open]
    if not found:
        return None
    return min(
        found,
        key=lambda kind: (
            kind.spec.price_per_hour / min(count, kind.holds[service]),
            kind.spec.provisioning_s,
            kind.odd[service],
            kind.index,
        ),
    )


@dataclass(slots=True)
class Bins:
    """`count` nodes with the same `free`."""

    count: int
    free: list[int]


def to_ask(sizes: Sizes, waiting: Sequence[int], bins: list[Bins], ask: Callable[[Kind], None]) -> list[int]:
    """First fit, largest first: `waiting` replicas of each service into `bins` (what is free on nodes that come), and
    for the rest nodes of the cheapest kind, for each of which `ask` is called; it has to count it in `coming`. Returns
    how many of each service no node can be had for. Replicas of a service are alike, as empty nodes of a kind are: both
    are packed by the heap."""
    left = list(waiting)
    for service in sizes.order:
        need = sizes.needs[service]
        for at in range(len(bins)):
            if not left[service]:
                break
            left[service] -= _fill(bins, at, need, left[service])
        while left[service]:
            kind = cheapest(sizes.kinds, service, left[service])
            if kind is None:
                break
            ask(kind)
            bins.append(Bins(1, list(kind.capacity)))
            left[service] -= _fill(bins, len(bins) - 1, need, left[service])
    return left


def _fill(bins: list[Bins], at: int, need: Sequence[int], most: int) -> int:
    """Up to `most` into the nodes of `bins[at]`. Returns how many; nodes that differ now are bins of their own."""
    here = bins[at]
    each = fits(here.free, need)
    full, rest = divmod(min(most, each * here.count), each) if each else (0, 0)
    empty = list(here.free)
    if rest:
        bins.append(Bins(1, [there - rest * wanted for there, wanted in zip(empty, need, strict=True)]))
    if full:
        here.free = [there - each * wanted for there, wanted in zip(empty, need, strict=True)]
        if here.count - full - bool(rest):
            bins.append(Bins(here.count - full - bool(rest), empty))
        here.count = full
    elif rest:
        here.count -= 1
    return full * each + rest


def _whole(amount: float, *, up: bool) -> int:
    if amount >= _BOUNDLESS / _UNITS:
        return _BOUNDLESS
    scaled = amount * _UNITS
    return ceil(scaled - 1e-3) if up else int(scaled + 1e-3)


def _powered(spec: NodeClass) -> str:
    """The resource by whose use its power is shared out: GPUs, else cores, else what it has a bound of."""
    bounded = [name for name, amount in spec.capacity.items() if amount > 0 and not isinf(amount)]
    gpus = [name for name in bounded if name.split()[0] == _GPU]  # `gpu`, or `gpu` and whose
    return next((name for name in (*gpus, "cpu", *sorted(bounded)) if name in bounded), "")


def _share(amount: float, capacity: float | None) -> float:
    return min(1.0, amount / capacity) if capacity else 0.0


def _amount(resource: str, amount: float) -> str:
    return f"{resource} {format_bytes(amount) if resource == 'memory' else f'{amount:g}'}"


def _check(classes: Sequence[NodeClass]) -> None:
    names = [one.name for one in classes]
    for one in classes:
        where = f"node class {one.name}"
        if names.count(one.name) > 1:
            raise UserError(f"{where}: there are two of that name; rename one")
        if one.most is not None and one.most < one.least:
            raise UserError(
                f"{where}: at most {one.most} nodes and at least {one.least}; raise the one or lower the other"
            )
        if one.least < 0:
            raise UserError(f"{where}: at least {one.least} nodes; expected 0 or more")
        amounts = {
            "price": one.price_per_hour,
            "provisioning time": one.provisioning_s,
            "idle time": one.idle_after_s,
            "idle watts": one.idle_watts,
            **one.capacity,
        }
        for what, amount in amounts.items():
            if isnan(amount) or amount < 0:
                raise UserError(f"{where}: {what} {amount:g}; expected 0 or more")
        if one.mtbf_s is not None and not one.mtbf_s > 0:
            raise UserError(f"{where}: mean time between failures {one.mtbf_s:g} s; expected more than 0, or none")


def _provisioning(spec: NodeClass, random: np.random.Generator) -> Callable[[], float]:
    """Lognormal through the median and the 90th percentile; the median where there is none."""
    median, p90 = spec.provisioning_s, spec.provisioning_p90_s
    if p90 is None or p90 <= median or median <= 0:
        return lambda: median
    deviation = log(p90 / median) / _Z90
    return lambda: median * exp(deviation * float(random.standard_normal()))


def _lifetime(spec: NodeClass, random: np.random.Generator) -> Callable[[], float] | None:
    mean = spec.mtbf_s
    return None if mean is None else lambda: mean * float(random.standard_exponential())
