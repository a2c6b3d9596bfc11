"""Which packages an image gets: those that the service runs with here, each at its version and with its SHA-256.

pip resolves (`install --dry-run --report`), for Linux on the wanted processor, with what is installed here as
constraints: the image runs what was tried. Without an index the versions that are installed here are taken, without
hashes.
"""

import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from plimsoll.core.errors import UserError

DISTRIBUTION = "plimsoll-serve"
_RESOLVE_S = 600
_OLDEST_GLIBC, _NEWEST_GLIBC = 17, 36  # manylinux2014 to Debian 12, which the slim images are made of
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Lock:
    """`text`: of a requirements file. `notes`: where it is less than it could be."""

    text: str
    hashed: bool
    notes: tuple[str, ...] = field(default=())


def machine_of(target: str = "") -> str:
    """`amd64` or `arm64`: of `linux/amd64`, or of this machine."""
    name = (target or platform.machine()).rpartition("/")[2].lower()
    name = {"x86_64": "amd64", "aarch64": "arm64"}.get(name, name)
    if name not in _MACHINES:
        raise UserError(f"--platform {target or name}: expected linux/amd64 or linux/arm64")
    return name


def lock(requirements: Sequence[str], machine: str) -> Lock:
    """Raises UserError where the requirements exclude each other."""
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    # +local versions stand in no index
    constraints = [f"{name}=={version}" for name, version in installed.items() if name and "+" not in version]
    notes: list[str] = []
    report, why = _resolved(requirements, constraints, machine)
    if report is None:
        report, why = _resolved(requirements, (), machine)
        if report is not None:
            notes.append("the versions that are installed here can't be had for the image; newer ones were taken")
    if report is not None:
        return Lock(_with_hashes(report), True, tuple(notes))
    if "ResolutionImpossible" in why or "No matching distribution" in why:
        wrong = next((line for line in why.splitlines() if line.startswith("ERROR")), why[:300])
        if not _all_installed(requirements):
            raise UserError(f"the requirements can't be resolved: {wrong.removeprefix('ERROR: ')}")
    notes.append("pip reached no index: requirements.txt has the versions that are installed here, without hashes")
    return Lock(_of_installed(requirements), False, tuple(notes))


def _resolved(
    requirements: Sequence[str], constraints: Iterable[str], machine: str
) -> tuple[list[dict[str, Any]] | None, str]:
    """pip's report, or None and what it said."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-lock-") as folder:
        wanted, bound = Path(folder, "requirements.in"), Path(folder, "constraints.txt")
        wanted.write_text("\n".join(requirements) + "\n")
        bound.write_text("\n".join(constraints) + "\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            "-",
        ]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "-r", str(wanted), "-c", str(bound)]
        command += ["--target", folder]  # without it pip refuses another platform than this; nothing is written there
        command += [part for tag in _platforms(machine) for part in ("--platform", tag)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_RESOLVE_S, check=False)
        except subprocess.TimeoutExpired:
            return None, f"pip did not finish within {_RESOLVE_S} s"
    if done.returncode != 0:
        return None, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return found, ""


def _platforms(machine: str) -> list[str]:
    name = _MACHINES[machine]
    tags = [f"manylinux_2_{minor}_{name}" for minor in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{name}", f"linux_{name}"]


def _with_hashes(report: list[dict[str, Any]]) -> str:
    lines = []
    for one in sorted(report, key=lambda one: canonicalize_name(one["metadata"]["name"])):
        name, version = canonicalize_name(one["metadata"]["name"]), one["metadata"]["version"]
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return "\n".join([*lines, ""])


def _all_installed(requirements: Sequence[str]) -> bool:
    for text in requirements:
        try:
            found = importlib.metadata.version(Requirement(text).name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not Requirement(text).specifier.contains(found, prereleases=True):
            return False
    return True


def _of_installed(requirements: Sequence[str]) -> str:
    return "\n".join([*(f"{name}=={version}" for name, version in sorted(closure(requirements).items())), ""])


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Canonical name to installed version, of the requirements and all that they need. Raises UserError for one that is
    not installed."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen or not _applies(wanted, frozenset()):
            continue
        seen.add((name, frozenset(wanted.extras)))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(f"{wanted} is not installed here, and no index is there; pip install '{wanted}'") from None
        if name != DISTRIBUTION:
            found[name] = distribution.version
        for text in distribution.requires or ():
            one = Requirement(text)
            if _applies(one, frozenset(wanted.extras)):
                one.marker = None
                waiting.append(one)
    return found


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""}))
