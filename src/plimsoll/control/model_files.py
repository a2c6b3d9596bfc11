"""What belongs to a model on disk: which files, their digest, and a copy that stays while the user edits.

- a Python file: every `*.py` of its folder (and of folders below that directly hold some), for the model may import
  them; not tests, hidden files, caches, virtual environments.
- a folder: every file in it, but hidden ones and caches.
- any other file: itself.
- `package.module:Class`: nothing is copied; the module's file counts for the digest where it is found.
"""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COPY_MAX_BYTES = 512 * 2**20  # larger files are hard-linked: copying 512 MiB takes about a second
_FILES_MAX = 5000  # a model beside more than that lies in a folder that is not its own
_SKIPPED_FOLDERS = frozenset({"__pycache__", "tests", "test", "node_modules"})


class ModelMissing(Exception):
    """`str()` says what is wrong with the path, without naming it."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`root`: the folder that is copied (None: nothing is). `entry`: the model within it, "" for the root itself.
    `files`: relative paths that make up the digest and are copied; `linked`: entries that a copy only points to."""

    root: Path | None
    entry: str
    files: tuple[str, ...]
    linked: tuple[str, ...] = ()


def find_files(path: Path) -> ModelFiles:
    """Raises ModelMissing where `path` can't be read, or more files belong to it than a model has."""
    try:
        if path.is_dir():
            files = tuple(sorted(_all_below(path, path)))
            if not files:
                raise ModelMissing("is an empty folder")
            found = ModelFiles(path, "", files)
        elif not path.is_file():
            raise ModelMissing("is neither a file nor a folder" if path.exists() else "does not exist")
        elif path.suffix == ".py":
            code, linked = _code_below(path.parent)
            found = ModelFiles(path.parent, path.name, tuple(sorted({*code, path.name})), tuple(linked))
        else:
            found = ModelFiles(path.parent, path.name, (path.name,))
    except OSError as error:
        raise ModelMissing(f"cannot be read: {error.strerror or error}") from error
    if len(found.files) > _FILES_MAX:
        raise ModelMissing(f"lies among more than {_FILES_MAX} files; give the model a folder of its own")
    return found


def digest(found: ModelFiles, into: "hashlib._Hash") -> None:
    """Adds names and contents. Raises ModelMissing where a file can't be read."""
    assert found.root is not None
    for name in found.files:
        into.update(f"\0{name}\0".encode())
        try:
            with open(found.root / name, "rb") as file:
                into.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            continue  # deleted since we looked; the next change tells
        except OSError as error:
            raise ModelMissing(f"cannot be read: {name}: {error.strerror}") from error


def digest_module(path: str, directory: Path, into: "hashlib._Hash") -> None:
    """The source of `package.module:Class`, sought beside the service file, then where Python looks."""
    into.update(path.encode())
    source = module_file(path, directory)
    if source is not None:
        into.update(source.read_bytes())


def module_file(path: str, directory: Path) -> Path | None:
    module = path.rpartition(":")[0]
    beside = directory.joinpath(*module.split("."))
    for candidate in (beside.with_suffix(".py"), beside / "__init__.py"):
        if candidate.is_file():
            return candidate
    if "." in module:  # finding a submodule would import its parents
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and os.path.isfile(spec.origin) else None


def copy(found: ModelFiles, target: Path) -> Path:
    """Copies into the new folder `target`; the model's path there. OSError where the disk refuses."""
    assert found.root is not None
    target.mkdir(parents=True)
    for name in found.files:
        source, copied = found.root / name, target / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy_file(source, copied)
        except FileNotFoundError:
            continue  # deleted since we looked
    for name in found.linked:
        link = target / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to((found.root / name).absolute())
    return target / found.entry if found.entry else target


def _copy_file(source: Path, target: Path) -> None:
    if source.stat().st_size > _COPY_MAX_BYTES:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:
            pass  # another file system: copied after all
    shutil.copy2(source, target)


def _skipped(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return True
    return entry.is_dir() and (entry.name in _SKIPPED_FOLDERS or os.path.exists(os.path.join(entry.path, "pyvenv.cfg")))


def _is_code(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".py") and entry.is_file() and not entry.name.startswith("test_")


def _code_below(folder: Path, within: str = "", depth: int = 0) -> tuple[list[str], list[str]]:
    """Relative paths of the code, and of the other entries beside it."""
    code: list[str] = []
    others: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = f"{within}{entry.name}"
        if _skipped(entry):
            continue
        if _is_code(entry):
            code.append(name)
        elif depth < 8 and len(code) <= _FILES_MAX and entry.is_dir(follow_symlinks=False) and _holds_code(entry.path):
            below, beside = _code_below(Path(entry.path), f"{name}/", depth + 1)
            code += below
            others += beside
        elif not entry.name.endswith(".py"):
            others.append(name)
    return code, others


def _holds_code(folder: str) -> bool:
    try:
        return any(_is_code(entry) for entry in os.scandir(folder))
    except OSError:
        return False


def _all_below(folder: Path, root: Path) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            if not entry.is_symlink():  # a link may lead back up
                yield from _all_below(Path(entry.path), root)
        elif entry.is_file():
            yield os.path.relpath(entry.path, root)
