"""From files to objects, with every problem of every file at once."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.spec import later
from plimsoll.spec.base import API_VERSION, Whole
from plimsoll.spec.platform import Platform
from plimsoll.spec.service import KIND, ModelService
from plimsoll.spec.tenant import Tenant
from plimsoll.spec.together import Documents, check_together, clashes, raise_all

# YAML is imported where a file is read: a replica's service comes as JSON, and its start is waited for.
if TYPE_CHECKING:
    from plimsoll.spec.document import Document

KINDS: dict[str, type[Whole]] = {KIND: ModelService, "Tenant": Tenant, "Platform": Platform}


def load_all_text(text: str, *, file: str = "<text>") -> Documents:
    """The objects of one file's text, in its order. `file` is how problems name it. Raises SpecErrors.

    What they refer to is not looked for: it may stand in another file (`load_all_files`, `check_together`).
    """
    from plimsoll.spec.document import read_documents

    documents, problems = read_documents(text, file)
    found: list[Whole] = []
    filled = [document for document in documents if document.data is not None]
    for document in filled:
        try:
            found.append(_whole(document))
        except SpecErrors as errors:
            problems += errors.errors
    if not filled and not problems:
        problems.append(SpecError(f"holds no service; expected a document with kind: {KIND}", file=file))
    sorted_out = Documents.of(found)
    raise_all(problems + clashes(sorted_out))
    return sorted_out


def load_all_file(path: str | Path) -> Documents:
    """As `load_all_text`. Raises SpecErrors, also for a file that can't be read."""
    try:
        text = read(Path(path))
    except SpecError as error:
        raise SpecErrors([error]) from None
    return load_all_text(text, file=str(path))


def load_all_files(paths: Iterable[str | Path]) -> Documents:
    """All objects of a set of files: no two of one name, route or credential, and every reference leads somewhere.
    Raises SpecErrors."""
    found = Documents()
    problems: list[SpecError] = []
    for path in paths:
        try:
            found = found.joined(load_all_file(path))
        except SpecErrors as errors:
            problems += errors.errors
    if problems:
        raise_all(problems + clashes(found))  # what a broken file holds is not known: no word about references
    check_together(found)
    return found


def load_text(text: str, *, file: str = "<text>") -> list[ModelService]:
    """`load_all_text`, the services alone; there may be none."""
    return list(load_all_text(text, file=file).services)


def load_file(path: str | Path) -> list[ModelService]:
    """`load_all_file`, the services alone; there may be none."""
    return list(load_all_file(path).services)


def load_files(paths: Iterable[str | Path]) -> list[ModelService]:
    """`load_all_files`, the services alone; there may be none."""
    return list(load_all_files(paths).services)


def read(path: Path) -> str:
    """A service file's text. Raises SpecError where there is none to be had."""
    from plimsoll.spec.document import MAX_CHARACTERS

    file = str(path)
    try:
        if path.is_dir():
            raise SpecError("is a folder; expected a file such as service.yaml", file=file)
        with path.open("rb") as stream:
            raw = stream.read(4 * MAX_CHARACTERS + 1)  # of a device or a model given by mistake, no more than this
    except FileNotFoundError:
        raise SpecError("no such file", file=file) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(f"can't be read: {reason}", file=file) from None
    if not raw.strip():
        raise SpecError(f"is empty; expected a document with kind: {KIND}", file=file)
    try:
        return raw.decode("utf-8-sig")  # a byte order mark, as some editors write it, is no part of the text
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError("is not UTF-8 text", file=file, line=line) from None


def _whole(document: "Document") -> Whole:
    """One document. The kind comes first: the keys of another one would all be unknown here."""
    data, origin = document.data, document.origin
    if not isinstance(data, dict):
        what = "a list" if isinstance(data, list) else "a single value"
        raise SpecErrors(
            [origin.problem("", f"expected a mapping with apiVersion, kind, metadata and spec, not {what}")]
        )
    kind = data.get("kind")
    if isinstance(kind, str) and kind not in KINDS:
        raise SpecErrors([origin.problem("kind", _no_kind(kind, str(data.get("apiVersion", ""))))])
    return KINDS[kind if isinstance(kind, str) else KIND].parse(data, origin)


def _no_kind(kind: str, api_version: str) -> str:
    expected = f"expected {', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}"
    if kind in later.KINDS and api_version.startswith("plimsoll.dev/"):
        return f"{kind} is {later.NOT_YET}; {expected}"
    near = difflib.get_close_matches(kind[:63].lower(), [name.lower() for name in KINDS], n=1, cutoff=0.7)
    if near:
        expected = f"did you mean {next(name for name in KINDS if name.lower() == near[0])}?"
    return f"{kind[:63]!r} is no kind of {API_VERSION}; {expected}"


def check_unique(services: Sequence[ModelService]) -> None:
    """Raises SpecErrors where two services have one name or claim one route, naming both places."""
    raise_all(clashes(Documents(services=tuple(services))))
