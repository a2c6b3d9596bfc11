"""Is what `runtime.requirements` asks for installed? Checked before the author's code runs; nothing is installed.

Requirements are written as PEP 508 says: names, extras, version specifiers, environment markers. What reads them is
imported only where there are some: it costs 26 ms of a start.
"""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plimsoll.core.errors import ModelLoadError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement


def check_requirements(requirements: Sequence[str], *, file: str = "") -> None:
    """Raises ModelLoadError naming all that is missing and the command that installs it."""
    if not requirements:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    problems: list[str] = []
    install: list[str] = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            line = str(error).splitlines()[0]
            raise ModelLoadError(f"runtime.requirements: {text!r} is no requirement: {line}", file=file) from None
        problem = _problem(requirement)
        if problem:
            problems.append(f"{text}, {problem}")
            install.append(shlex.quote(text))
    if problems:
        raise ModelLoadError(f"needs {'; '.join(problems)}; run: pip install {' '.join(install)}", file=file)


def missing_library(format_name: str, extra: str, error: ImportError, *, file: str) -> ModelLoadError:
    """What to say when a format's own library can't be imported."""
    return ModelLoadError(
        f"{format_name} models need {error.name or 'a library'}, which can't be imported ({error}); "
        f"run: pip install 'plimsoll-serve[{extra}]'",
        file=file,
    )


def _problem(requirement: "Requirement") -> str:
    from importlib.metadata import PackageNotFoundError, distribution

    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return "which is not installed"
    if not requirement.specifier.contains(found.version, prereleases=True):
        return f"but {found.version} is installed"
    for extra in sorted(requirement.extras):
        missing = _missing_of_extra(found, extra)
        if missing:
            return f"whose extra {extra!r} lacks {', '.join(missing)}"
    return ""


def _missing_of_extra(found: "Distribution", extra: str) -> list[str]:
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import Requirement

    missing = []
    for text in found.requires or []:
        needed = Requirement(text)
        if (
            needed.marker is None
            or needed.marker.evaluate({"extra": ""})
            or not needed.marker.evaluate({"extra": extra})
        ):
            continue
        try:
            if not needed.specifier.contains(distribution(needed.name).version, prereleases=True):
                missing.append(text.partition(";")[0].strip())
        except PackageNotFoundError:
            missing.append(needed.name)
    return missing
