"""What several objects are together, and what is wrong between them: names, routes, credentials, references.

A service is known by its namespace and its name, as on a cluster; `check_here` is for places without namespaces. One
that names none gets the command's, and is checked again then.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.core.subjects import canonical_subject
from plimsoll.spec.base import Whole
from plimsoll.spec.platform import Platform
from plimsoll.spec.service import ModelService
from plimsoll.spec.tenant import Tenant

_Id = tuple[str, str]  # namespace, name
_MOST_PROBLEMS = 200  # of a set of files; a megabyte of duplicate keys has 200,000


@dataclass(frozen=True, slots=True)
class Documents:
    """The objects of one file or several, by kind, each in the order of the files. One platform is fine, no more."""

    services: tuple[ModelService, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    platforms: tuple[Platform, ...] = ()

    @classmethod
    def of(cls, wholes: Iterable[Whole]) -> "Documents":
        found = list(wholes)
        return cls(
            services=tuple(one for one in found if isinstance(one, ModelService)),
            tenants=tuple(one for one in found if isinstance(one, Tenant)),
            platforms=tuple(one for one in found if isinstance(one, Platform)),
        )

    @property
    def platform(self) -> Platform | None:
        return self.platforms[0] if self.platforms else None

    def __bool__(self) -> bool:
        return bool(self.services or self.tenants or self.platforms)

    def __iter__(self) -> Iterator[Whole]:
        yield from self.services
        yield from self.tenants
        yield from self.platforms

    def joined(self, other: "Documents") -> "Documents":
        """Both, unchecked."""
        return Documents.of([*self, *other])


def check_together(documents: Documents) -> None:
    """All that can be wrong between objects. Raises SpecErrors."""
    raise_all(clashes(documents) + reference_problems(documents.services) + accelerator_problems(documents))


def check_here(documents: Documents) -> None:
    """As `check_together`, where there are no namespaces: on a laptop, in a plan. Raises SpecErrors."""
    check_names_here(documents.services)
    problems = clashes(documents, spaces=False) + reference_problems(documents.services, spaces=False)
    raise_all(problems + accelerator_problems(documents))


def check_names_here(services: Sequence[ModelService]) -> None:
    """Raises SpecErrors where namespaces alone tell two services apart."""
    problems: list[SpecError] = []
    names: dict[str, ModelService] = {}
    for one in services:
        first = names.setdefault(one.name, one)
        if first.namespace != one.namespace:
            mine, other = (f"in namespace {each.namespace}" if each.namespace else "in none" for each in (one, first))
            message = (
                f"{one.name} {mine} is also in {first.place('metadata.name')}, {other}: a cluster can tell them apart; "
                "here there are no namespaces; give one of them another name, or run one file of the two"
            )
            problems.append(one.problem("metadata.name", message))
    raise_all(problems)


def check_references(services: Sequence[ModelService]) -> None:
    """Raises SpecErrors where a fallback leads to an unknown service, to its own, or round in a loop."""
    raise_all(reference_problems(services))


def clashes(documents: Documents, *, spaces: bool = True) -> list[SpecError]:
    """Two of one name, one route or one credential, and a second platform: each names both places. `spaces`: whether
    namespaces tell services apart."""
    problems = _names(documents.services, "service", spaces) + _routes(documents.services, spaces)
    problems += _names(documents.tenants, "tenant") + _credentials(documents.tenants)
    for second in documents.platforms[1:]:
        where = documents.platforms[0].place("kind")
        problems.append(second.problem("kind", f"a platform stands in {where} already; there is one"))
    return problems


def _names(wholes: Sequence[ModelService] | Sequence[Tenant], what: str, spaces: bool = False) -> list[SpecError]:
    problems: list[SpecError] = []
    names: dict[_Id, ModelService | Tenant] = {}
    for one in wholes:
        space = _space(one) if spaces else ""
        first = names.setdefault((space, one.name), one)
        if first is not one:
            where = first.place("metadata.name") + (f", in namespace {space}" if space else "")
            problems.append(one.problem("metadata.name", f"{one.name} is the name of the {what} in {where} too"))
    return problems


def _space(one: ModelService | Tenant) -> str:
    return one.namespace if isinstance(one, ModelService) else ""


def _routes(services: Sequence[ModelService], spaces: bool) -> list[SpecError]:
    """A path at any host is a namespace's own (the host NAME.NAMESPACE leads to it); one at a named host is there
    once."""
    problems: list[SpecError] = []
    routes: dict[tuple[str, str, str | None], tuple[ModelService, str]] = {}
    for service in services:
        for index, route in enumerate(service.spec.routes):
            key = f"spec.routes[{index}].path"
            space = service.namespace if spaces and route.host is None else ""
            owner, other = routes.setdefault((space, route.path, route.host), (service, key))
            if owner is not service:
                where = owner.place(other)
                problems.append(service.problem(key, f"{route.path} is a route of {owner.name} too, in {where}"))
    return problems


def _credentials(tenants: Sequence[Tenant]) -> list[SpecError]:
    """One certificate, or one token, can't stand for two tenants. (Whether two API keys are one, only hashes tell.)"""
    problems: list[SpecError] = []
    owners: dict[object, tuple[Tenant, str]] = {}
    for tenant in tenants:
        auth = tenant.spec.auth
        claimed: list[tuple[object, str, str]] = [
            (canonical_subject(one.subject), f"spec.auth.certificates[{index}].subject", "this subject")
            for index, one in enumerate(auth.certificates)
        ]
        if auth.jwt is not None:
            token = (auth.jwt.issuer, auth.jwt.audience, tuple(sorted(auth.jwt.claims.items())))
            claimed.append((token, "spec.auth.jwt", "a token of this issuer and audience with these claims"))
        for credential, key, what in claimed:
            owner, other = owners.setdefault(credential, (tenant, key))
            if owner is not tenant:
                where = owner.place(other)
                problems.append(tenant.problem(key, f"{what} stands for {owner.name} too, in {where}"))
    return problems


def reference_problems(services: Sequence[ModelService], *, spaces: bool = True) -> list[SpecError]:
    """One problem a wrong reference, and one a loop, at the reference that closes it. A fallback stays in its
    namespace; one that isn't written may be any."""
    known = {(service.namespace if spaces else "", service.name): service for service in services}
    named: dict[str, list[_Id]] = {}
    for one in known:
        named.setdefault(one[1], []).append(one)
    problems: list[SpecError] = []
    edges: dict[_Id, list[tuple[_Id, str]]] = {}
    for (space, own), service in known.items():
        ways = edges[space, own] = []
        for index, step in enumerate(service.spec.fallback):
            if step.service is None:
                continue
            key, name = f"spec.fallback[{index}].service.name", step.service.name
            near = [one for one in named.get(name, ()) if one[0] == space or not one[0] or not space]
            if name == own:
                problems.append(service.problem(key, f"{name} would fall back to itself; expected another service"))
            elif not near:
                problems.append(service.problem(key, _nobody(name, space, own, known, named)))
            else:
                ways.append((min(near, key=lambda one: one[0] != space), key))
    for path, key in _loops(edges):
        ways_round = " → ".join(one[1] for one in (*path, path[0]))
        problems.append(known[path[-1]].problem(key, f"falls back in a loop: {ways_round}; take one step out"))
    return problems


def _nobody(name: str, space: str, own: str, known: Iterable[_Id], named: dict[str, list[_Id]]) -> str:
    """Why a fallback leads nowhere."""
    elsewhere = sorted(one[0] for one in named.get(name, ()))
    if elsewhere:
        there = ", ".join(elsewhere[:5])
        return f"no service is named {name} in namespace {space}, where a fallback stays; there is one in {there}"
    return _unknown(name, [one[1] for one in known if one[0] in (space, "") and one[1] != own])


def accelerator_problems(documents: Documents) -> list[SpecError]:
    """A class that a service names and the platform doesn't have. Without a platform nothing is known."""
    platform = documents.platform
    if platform is None:
        return []
    known = [one.name for one in platform.spec.accelerator_classes]
    asked = [(one, one.spec.accelerator.class_) for one in documents.services if one.spec.accelerator is not None]
    return [one.problem("spec.accelerator.class", _no_class(name, known)) for one, name in asked if name not in known]


def _no_class(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known[:10])}" if known else "it has none"
    return f"the platform has no accelerator class named {name}; {hint}"


def _unknown(name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
    if near:
        return f"no service is named {name}; did you mean {near[0]}?"
    shown = ", ".join(others[:10]) + (", …" if len(others) > 10 else "")
    return f"no service is named {name}; there are others: {shown}" if others else f"no service is named {name}"


def _loops(edges: dict[_Id, list[tuple[_Id, str]]]) -> Iterator[tuple[list[_Id], str]]:
    """Each loop's names in the order they are tried, and the key in the last one that leads back to the first.

    Depth first with a stack of our own: a chain of fallbacks may be longer than Python's stack is deep.
    """
    done: set[_Id] = set()
    for start in edges:
        if start in done:
            continue
        path, at, ways = [start], {start: 0}, [iter(edges[start])]
        while path:
            step = next(ways[-1], None)
            if step is None:
                done.add(path[-1])
                del at[path.pop()]
                ways.pop()
                continue
            one, key = step
            if one in at:
                yield path[at[one] :], key
            elif one not in done:
                at[one] = len(path)
                path.append(one)
                ways.append(iter(edges[one]))


def raise_all(problems: list[SpecError]) -> None:
    """Raises SpecErrors where there are any: in the order of the lines, each once (an anchor used twice shows its
    problem twice)."""
    if not problems:
        return
    files = {error.file: at for at, error in reversed(list(enumerate(problems)))}
    ordered = sorted(problems, key=lambda error: (files[error.file], error.line))
    once = list({str(error): error for error in ordered}.values())
    if len(once) > _MOST_PROBLEMS:
        rest = SpecError(f"and {len(once) - _MOST_PROBLEMS:,} more problems", file=once[_MOST_PROBLEMS].file)
        once = [*once[:_MOST_PROBLEMS], rest]
    raise SpecErrors(once)
