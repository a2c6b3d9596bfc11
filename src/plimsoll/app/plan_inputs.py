"""What `plimsoll plan` reads: services from files or options, their profiles, traces, and nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.app.sources import named, read_text, service_files
from plimsoll.core.errors import UserError
from plimsoll.core.scaling import Bounds
from plimsoll.core.units import format_duration, parse_duration, parse_quantity, parse_share
from plimsoll.insight.profile import LogNormal, Profile, read_profile
from plimsoll.insight.traffic import Trace, read_trace
from plimsoll.insight.traffic.columns import is_columns, read_columns
from plimsoll.sim.report import Goals, Money
from plimsoll.sim.scenario import NodeClass

if TYPE_CHECKING:
    from plimsoll.spec import Documents, ModelService, Platform
    from plimsoll.spec.nodes import NodeClass as SpecNodeClass

_MOST = 1000  # replicas of a service that no file bounds
_SINGLE = "service"  # the name of one that no file names
_NO_BOUND = float("inf")


@dataclass(frozen=True, slots=True)
class Subject:
    """A service to plan for. `own`: its policy as on the command line. `warnings`: doubts about its profile."""

    name: str
    profile: Profile
    bounds: Bounds
    goals: Goals
    own: str = "budget"
    linger_s: float = 0.0
    hold_s: float = 30.0
    needs: Mapping[str, float] | None = None
    priority: int = 0
    spares: int | None = None
    max_batch_one: bool = False
    warnings: tuple[str, ...] = ()


def read_documents(paths: Sequence[str]) -> "Documents":
    from plimsoll.spec import check_here, load_all_files

    found = load_all_files(named(file) for file in service_files([Path(path) for path in paths]))
    check_here(found)
    return found


def read_platform(path: str | None, documents: "Documents | None") -> "Platform | None":
    """Of `--nodes FILE`, else of the service files. Raises UserError where the file has none."""
    if path is None:
        return documents.platforms[0] if documents is not None and documents.platforms else None
    from plimsoll.spec import load_all_file

    found = load_all_file(path).platforms
    if not found or not found[0].spec.node_classes:
        raise UserError(f"--nodes {path}: has no nodeClasses; expected a document with kind: Platform that has them")
    return found[0]


def from_file(
    service: "ModelService", platform: "Platform | None", profile: str | None, service_time: Profile | None
) -> Subject:
    """As the file says; the profile of `--profile`, of `--service-time`, or the one beside the file."""
    from plimsoll.spec import bounds_of, policy_text

    warnings: tuple[str, ...] = ()
    if service_time is not None:
        learned = service_time
    else:
        path = Path(profile) if profile is not None else service.directory / f"{service.name}.profile.json"
        learned = _profile(path, service)
        warnings = tuple(_doubts(learned, service, path))
    memory = service.memory_request_bytes
    needs = {"cpu": service.cpus, "memory": float(memory or 0), "replicas": 1.0} | _accelerators(service, platform)
    wish = service.spec.scaling.spares
    return Subject(
        name=service.name,
        profile=learned,
        bounds=bounds_of(service, platform),
        goals=Goals(
            service.p50_s, service.p95_s, service.p99_s, service.error_rate, service.cost_per_million,
            service.cost_per_hour,
        ),
        own=policy_text(service),
        linger_s=service.linger_s,
        hold_s=service.hold_s,
        needs=needs,
        priority=service.spec.scaling.priority,
        spares=None if wish is None else wish.count if wish.state == "ModelLoaded" else 0,
        warnings=warnings,
    )  # fmt: skip


def from_options(name: str, profile: Profile, p99_s: float | None, most: int | None, *, one: bool) -> Subject:
    """A service that no file describes: `--service-time` and `--p99` say what it is."""
    timeout_s = 60.0 if p99_s is None else 2 * p99_s
    bounds = Bounds(least=1, most=most or _MOST, p99_s=p99_s, timeout_s=timeout_s, max_batch=1 if one else None)
    return Subject(name, profile, bounds, Goals(p99_s=p99_s), max_batch_one=one)


def _profile(path: Path, service: "ModelService") -> Profile:
    shown = named(path.absolute())
    if not path.is_file():
        source = named(Path(service.origin.file).absolute()) if service.origin.file else Path("FILE")
        raise UserError(
            f"{shown}: no profile of {service.name}; learn it with: plimsoll profile {source}, name one with "
            "--profile, or write what a batch takes: --service-time 4ms+1.5ms"
        )
    return read_profile(read_text(path), str(shown))


def _doubts(profile: Profile, service: "ModelService", path: Path) -> list[str]:
    """Why a profile may not fit the file."""
    from plimsoll.app.model_digest import model_digest

    found = []
    if profile.name and profile.name != service.name:
        found.append(f"{path.name} was learned from {profile.name}, not from {service.name}")
    elif profile.model and profile.model != model_digest(service):
        found.append(
            f"{path.name} was learned from {profile.revision or 'another model'}, and the model has changed since: "
            "learn it again with plimsoll profile"
        )
    most, seen = service.max_batch, profile.max_batch
    if seen is not None and most is not None and most > seen:
        found.append(f"{path.name} saw batches of up to {seen}; batching.maxSize allows {most}")
    return found


def parse_service_time(text: str) -> Profile:
    """`4ms+1.5ms` (a batch, and each item of it), `4ms+1.5ms:30%` with the spread of a batch's time, or
    `lognorm:SHAPE,LOC,SCALE` in scipy's terms, one request at a time: `lognorm:0.4225,79.3ms,68.6ms`."""
    kind, _, rest = text.partition(":")
    try:
        if kind == "lognorm":
            shape, loc, scale = rest.split(",") if rest.count(",") == 2 else _three()
            law = LogNormal(_positive(shape), parse_duration(loc), parse_duration(scale))
            if law.mean_s <= 0:
                raise ValueError("takes no time at all")
            return Profile(0.0, law.mean_s, spread=0.0, lognormal=law, max_batch=1)
        call, _, item = kind.partition("+")
        spread = parse_share(rest) if rest else 0.2
        found = Profile(parse_duration(call), parse_duration(item) if item else 0.0, spread=spread)
        if found.a_s + found.c_s <= 0:
            raise ValueError("takes no time at all")
    except ValueError as error:
        raise UserError(
            f"--service-time {text!r}: {error}; write 4ms+1.5ms (a batch, and each item), 4ms+1.5ms:30%, or "
            "lognorm:0.4225,79.3ms,68.6ms"
        ) from None
    return found


def _three() -> list[str]:
    raise ValueError("expected three figures: SHAPE,LOC,SCALE")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 10:
        raise ValueError(f"{text} is no shape; expected a number above 0, below 10")
    return value


# Traces


def read_traces(texts: Sequence[str], names: Sequence[str]) -> dict[str, Trace]:
    """By service. `names` of those in the files; empty: the traces name them (their columns, `name=`). Raises UserError
    where a service has none, or a trace belongs to nobody."""
    shared: Trace | None = None
    found: dict[str, Trace] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        own = bool(equals) and not text.startswith("synthetic:") and not Path(text).exists()
        read = read_source(source if own else text)
        if own:
            if isinstance(read, dict):
                raise UserError(f"--trace {text}: {source} has a column for each service; write --trace {source}")
            found[name] = read
        elif isinstance(read, dict):
            found |= read
        elif shared is not None:
            raise UserError("--trace: one for all services, or each with its name: --trace NAME=FILE")
        else:
            shared = read
    if not names:
        names = list(found) or [_SINGLE]
    strangers = [name for name in found if name not in names]
    if strangers and len(strangers) == len(found):
        raise UserError(f"--trace: is of {', '.join(strangers[:5])}; the services are {', '.join(names[:5])}")
    missing = [name for name in names if name not in found]
    if missing and shared is None:
        raise UserError(f"--trace: none for {', '.join(missing[:5])}; write --trace {missing[0]}=FILE")
    return {name: found[name] if name in found else _given(shared) for name in names}


def _given(trace: Trace | None) -> Trace:
    assert trace is not None
    return trace


def read_source(source: str) -> Trace | dict[str, Trace]:
    """A file, or `synthetic:…`."""
    if source.startswith("synthetic"):
        from plimsoll.insight.traffic.synthetic import parse_synthetic

        return parse_synthetic(source)
    try:
        with open(source, encoding="utf-8") as lines:
            first = lines.readline()
            lines.seek(0)
            return read_columns(lines, source) if is_columns(first) else read_trace(lines, source)
    except OSError as error:
        raise UserError(f"--trace {source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"--trace {source}: not UTF-8 text") from None


# Nodes


def node_classes(platform: "Platform | None") -> tuple[NodeClass, ...]:
    """As the simulator has them. What a class doesn't bound has no end; one without a capacity holds one replica."""
    return () if platform is None else tuple(map(_node_class, platform.spec.node_classes))


def _node_class(one: "SpecNodeClass") -> NodeClass:
    has = one.capacity
    p90, mtbf = one.provisioning_time_p90, one.mean_time_between_failures
    if has is None:
        capacity = {"replicas": 1.0, "cpu": _NO_BOUND, "memory": _NO_BOUND, _gpus(one.name): _NO_BOUND}
    else:
        capacity = {"replicas": _NO_BOUND, "cpu": _amount(has.cpu), "memory": _amount(has.memory)}
        if has.accelerators is not None:
            capacity[_gpus(one.name)] = float(has.accelerators)
    return NodeClass(
        name=one.name,
        capacity=capacity,
        price_per_hour=float(one.price_per_hour),
        provisioning_s=one.provisioning_s,
        provisioning_p90_s=None if p90 is None else parse_duration(p90),
        least=one.min_nodes,
        most=one.max_nodes,
        idle_after_s=parse_duration(one.idle_after),
        idle_watts=float(one.idle_watts or 0),
        max_watts=float(one.max_watts or 0),
        mtbf_s=None if mtbf is None else parse_duration(mtbf),
    )


def _gpus(node_class: str) -> str:
    """A resource of its own for each class: a service asks for a kind of accelerator, which one kind of node has."""
    return f"gpu {node_class}"


def _accelerators(service: "ModelService", platform: "Platform | None") -> dict[str, float]:
    wanted = service.spec.accelerator
    found = None if wanted is None or platform is None else platform.accelerator_class(wanted.class_)
    if wanted is None or found is None or found.node_class is None:
        return {}
    return {_gpus(found.node_class): wanted.count * found.of_one}


def _amount(text: str | None) -> float:
    return _NO_BOUND if text is None else parse_quantity(text)


def money_of(platform: "Platform | None", services: "Sequence[ModelService]", price: float | None) -> Money:
    """`price` of a replica's hour as on the command line, else by the platform's classes."""
    from plimsoll.spec import price_per_hour

    currency = platform.spec.currency if platform is not None else "USD"
    if price is None and services:
        price = price_per_hour(services[0], platform)
    return Money(currency, price)


def told(profile: Profile) -> str:
    """`4ms + 1.5ms an item (20% spread), cold start 8s`."""
    if profile.lognormal is not None:
        law = profile.lognormal
        takes = f"lognormal, mean {format_duration(round(law.mean_s, 4))}, one at a time"
    else:
        a, c = (format_duration(float(f"{value:.3g}")) for value in (profile.a_s, profile.c_s))
        takes = f"{a} + {c} an item ({profile.spread:.0%} spread)"
    return f"{takes}, cold start {format_duration(float(f'{profile.cold_s:.3g}'))}"
