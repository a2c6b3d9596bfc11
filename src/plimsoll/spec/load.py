"""From files to services, with every problem of every file at once."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.spec import later
from plimsoll.spec.document import MAX_CHARACTERS, Document, read_documents
from plimsoll.spec.service import API_VERSION, KIND, ModelService

_MOST_PROBLEMS = 200  # of a set of files; a megabyte of duplicate keys has 200,000


def load_text(text: str, *, file: str = "<text>") -> list[ModelService]:
    """The services of one file's text, in its order. `file` is how problems name it. Raises SpecErrors."""
    documents, problems = read_documents(text, file)
    services: list[ModelService] = []
    filled = [document for document in documents if document.data is not None]
    for document in filled:
        try:
            services.append(_service(document))
        except SpecErrors as errors:
            problems += errors.errors
    if not filled and not problems:
        problems.append(SpecError(f"holds no service; expected a document with kind: {KIND}", file=file))
    _raise(problems + _conflicts(services))
    return services


def load_file(path: str | Path) -> list[ModelService]:
    """Raises SpecErrors, also for a file that can't be read."""
    try:
        text = read(Path(path))
    except SpecError as error:
        raise SpecErrors([error]) from None
    return load_text(text, file=str(path))


def load_files(paths: Iterable[str | Path]) -> list[ModelService]:
    """All services of a set of files, no two of one name or route. Raises SpecErrors."""
    services: list[ModelService] = []
    problems: list[SpecError] = []
    for path in paths:
        try:
            services += load_file(path)
        except SpecErrors as errors:
            problems += errors.errors
    _raise(problems + _conflicts(services))
    return services


def read(path: Path) -> str:
    """A service file's text. Raises SpecError where there is none to be had."""
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


def check_unique(services: Sequence[ModelService]) -> None:
    """Raises SpecErrors where two services have one name or claim one route, naming both places."""
    _raise(_conflicts(services))


def _service(document: Document) -> ModelService:
    """One document. The kind comes first: the keys of another one would all be unknown here."""
    data, origin = document.data, document.origin
    if not isinstance(data, dict):
        what = "a list" if isinstance(data, list) else "a single value"
        raise SpecErrors(
            [origin.problem("", f"expected a mapping with apiVersion, kind, metadata and spec, not {what}")]
        )
    kind = data.get("kind")
    if isinstance(kind, str) and kind in later.KINDS and str(data.get("apiVersion", "")).startswith("plimsoll.dev/"):
        raise SpecErrors([origin.problem("kind", f"{kind} is {later.NOT_YET}; expected {KIND}")])
    if isinstance(kind, str) and kind != KIND and data.get("apiVersion") != API_VERSION:
        message = f"{kind[:63]!r} is no kind of {API_VERSION}; expected {KIND}"
        raise SpecErrors([origin.problem("kind", message)])
    return ModelService.parse(data, origin)


def _conflicts(services: Sequence[ModelService]) -> list[SpecError]:
    problems: list[SpecError] = []
    names: dict[str, ModelService] = {}
    routes: dict[tuple[str, str | None], tuple[ModelService, str]] = {}
    for service in services:
        first = names.setdefault(service.name, service)
        if first is not service:
            where = _place(first, "metadata.name")
            problems.append(
                service.problem("metadata.name", f"{service.name} is the name of the service in {where} too")
            )
        for index, route in enumerate(service.spec.routes):
            key = f"spec.routes[{index}].path"
            owner, other = routes.setdefault((route.path, route.host), (service, key))
            if owner is not service:
                where = _place(owner, other)
                problems.append(service.problem(key, f"{route.path} is a route of {owner.name} too, in {where}"))
    return problems


def _place(service: ModelService, key: str) -> str:
    line = service.origin.line_of(key)
    return f"{service.origin.file}:{line}" if line else service.origin.file or "another document"


def _raise(problems: list[SpecError]) -> None:
    """In the order of the lines, each once (an anchor used twice shows its problem twice)."""
    if not problems:
        return
    files = {error.file: at for at, error in reversed(list(enumerate(problems)))}
    ordered = sorted(problems, key=lambda error: (files[error.file], error.line))
    once = list({str(error): error for error in ordered}.values())
    if len(once) > _MOST_PROBLEMS:
        rest = SpecError(f"and {len(once) - _MOST_PROBLEMS:,} more problems", file=once[_MOST_PROBLEMS].file)
        once = [*once[:_MOST_PROBLEMS], rest]
    raise SpecErrors(once)
