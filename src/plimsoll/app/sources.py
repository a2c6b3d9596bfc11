"""From what stands on a command line to service files and their text."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.core.errors import UserError

if TYPE_CHECKING:  # pydantic costs 100 ms, and `apply` sends text
    from plimsoll.spec import ModelService

_MARK = "plimsoll.dev/"  # every document of ours names it in apiVersion; a compose file beside it does not
_NAMED_MAX = 5  # folders that a message names
_SUFFIXES = frozenset({".yaml", ".yml"})


def service_files(paths: Sequence[Path], *, folder: Path | None = None) -> list[Path]:
    """Absolute paths of the files that `paths` name, each once. A folder stands for all service files directly in it;
    no paths stand for `folder` (default: the current one). Raises UserError where one is missing or has none."""
    found: list[Path] = []
    for path in paths or [folder or Path()]:
        if path.is_dir():
            found += _in_folder(path, named=bool(paths))
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return list(dict.fromkeys(file.absolute() for file in found))


def _in_folder(folder: Path, *, named: bool) -> list[Path]:
    candidates = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    files = [path for path in candidates if path.stem == "service" or _MARK in read_text(path)]
    if not files:
        where = str(folder) if named else "this folder"
        below = sorted({str(path.parent) for path in folder.glob("*/service.yaml")})
        advice = f"there is one in {', in '.join(below[:_NAMED_MAX])}" if below else "name one"
        raise UserError(f"no service file in {where}; {advice}, or make one with: plimsoll init python NAME")
    return files


def read_text(path: Path) -> str:
    """Raises UserError for what cannot be read as UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def named(file: Path) -> Path:
    """As one would type it: messages are about `service.yaml`, not `/home/…/service.yaml`."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def documents(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """(text, absolute path) of each service file, for the admin API, which reads no files itself."""
    return [(read_text(file), file) for file in service_files(paths)]


def check_namespace(service: "ModelService", namespace: str) -> None:
    """As `kubectl -n` has it: it adds a namespace, and never changes one. Raises SpecError."""
    if service.namespace not in ("", namespace):
        message = f"{service.namespace} is not the namespace {namespace} of --namespace; remove one of the two"
        raise service.problem("metadata.namespace", message)


def choose_services(services: list["ModelService"], name: str | None) -> list["ModelService"]:
    """Those called `name`, or all. Raises UserError naming the nearest where there is none of that name, and for files
    of tenants alone. Raises SpecErrors where namespaces alone tell two apart."""
    if not services:
        raise UserError("there is no service in the files; expected a document with kind: ModelService")
    from plimsoll.spec import check_names_here

    check_names_here(services)
    if name is None:
        return services
    chosen = [service for service in services if service.name == name]
    if not chosen:
        known = [service.name for service in services]
        nearest = get_close_matches(name, known, n=1)
        raise UserError(
            f"no service {name!r}; " + (f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(known)}")
        )
    return chosen
