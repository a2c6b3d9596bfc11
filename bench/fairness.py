"""Two tenants: A floods with ten times its share, B asks for half of its own. B's p99 against B alone.

Held against the bar where the model takes one request at a time. Where it forms batches (rows without a bar) a request
of B finds the model busy with a whole batch, which is as long as the budget makes it, whoever is in it: no order of the
queue changes that part of its p99.

One `plimsoll up` of `sleepy` with two tenants of equal weight, reached both ways: through the gateway, where a tenant
is who holds its key, and straight at the replica's Unix socket, which believes the tenant's name.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from capacity import Subject, measuring
from open_loop import Judged, judge
from stack import Stack, replica_socket, serving
from table import Row

_BAR = 1.5
_SHARE = 0.5  # of two equal tenants
_FLOOD, _MODEST = 10, 0.5


@dataclass(frozen=True)
class Door:
    """How one tenant gets in."""

    url: str
    options: tuple[str, ...]


def one_by_one(model: Path) -> Subject:
    """`sleepy` without batches: 180/s."""
    return Subject("sleepy-single", model, "/sleepy-single", b'{"a":1}', 100, (), more="  batching: {maxSize: 1}\n")


def fairness_part(
    subject: Subject, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None], bar: str = f"≤ {_BAR}"
) -> list[Row]:
    rows = []
    with measuring("gateway", subject, work, say) as twin:
        capacity = twin.measure(seconds)
        with serving("gateway", tenants_file(subject, work), subject.path, work=work) as stack:
            for way, doors in _doors(stack, subject, work).items():
                alone, beside, flood = [], [], []
                for turn in range(rounds + 1):
                    say(f"fairness {way}: round {turn}/{rounds}")
                    modest = _MODEST * _SHARE * capacity
                    quiet = _run(doors["b"], subject, modest, 2 * seconds, turn)
                    with ThreadPoolExecutor(1) as pool:
                        # A begins before B and ends after it.
                        other = pool.submit(
                            _run, doors["a"], subject, _FLOOD * _SHARE * capacity, 2 * seconds + 3, turn + 100
                        )
                        crowded = _run(doors["b"], subject, modest, 2 * seconds, turn)
                        flood.append(other.result())
                    if turn:  # the first warms everybody up
                        alone.append(quiet.p99_ms or 0.0)
                        beside.append(crowded.p99_ms or float("inf"))
                        refused = crowded.offered - crowded.count("ok")
                rows.append(_row(subject, way, alone, beside, refused, crowded, flood[-1], bar))
    return rows


def _row(
    subject: Subject, way: str, alone: list[float], beside: list[float], refused: int, b: Judged, a: Judged, bar: str
) -> Row:
    ratio = median(two / one for one, two in zip(alone, beside, strict=True))
    against = (
        f"alone {median(alone):.1f} ms; B refused {refused} of {b.offered};"
        f" A got {a.goodput_per_s:.0f} of {a.told['offered_per_s']:.0f}/s"
    )
    name = f"{subject.name}, {way}"
    return Row(name, "B's p99 beside a flood", f"{median(beside):.1f} ms", against, ratio, bar)


def _run(door: Door, subject: Subject, rate: float, seconds: float, seed: int) -> Judged:
    return judge(door.url, subject.body, rate, seconds, "--budget", f"{subject.budget_ms}ms", *door.options, seed=seed)


def tenants_file(subject: Subject, work: Path) -> Path:
    """The service, for tenants only, and two of them; their keys' hashes as secrets beside it."""
    lines = [subject.file(work).read_text() + "  access: {anonymous: false}\n"]
    for name in ("a", "b"):
        key = _key(name)
        (work / f"{name}.key").write_text(key)
        secret = work / "secrets" / f"{name}-keys" / "bench"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}\n")
        lines.append(
            f"apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n"
            f"  auth: {{apiKeys: [{{name: bench, hashSecretRef: {{name: {name}-keys, key: bench}}}}]}}\n"
        )
    path = work / f"{subject.name}-tenants.yaml"
    path.write_text("---\n".join(lines))
    return path


def _key(tenant: str) -> str:
    return f"plm_{tenant}-a-key-of-the-benchmarks-0123456789-abcde"


def _doors(stack: Stack, subject: Subject, work: Path) -> dict[str, dict[str, Door]]:
    socket = str(replica_socket(stack))
    return {
        "straight": {
            name: Door(f"http://localhost{subject.path}", ("--unix-socket", socket, "--tenant", name)) for name in "ab"
        },
        "gateway": {name: Door(stack.url, ("--api-key-file", str(work / f"{name}.key"))) for name in "ab"},
    }
