"""Which files belong to a model, as they would be packed.

- a Python file: its folder and all below it, as `plimsoll up` lets it see them, without what `ignoring` leaves out.
- a folder: every file in it, likewise.
- any other file: itself.
- `package.module:Class`: nothing can be packed; it needs an image.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.ignoring import IGNORE_FILE, Ignored
from plimsoll.core.errors import UserError
from plimsoll.spec.formats import is_import

BUILD_MARK = ".plimsoll-build"  # in a build context, which may be made anew
_FILES_MAX = 5000  # a model beside more than that lies in a folder that is not its own
_SECRET_NAMES = (
    ".env", ".env.*", "*.env", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.p12", "*.pfx", "*.jks", ".netrc",
    ".pypirc", ".npmrc", "kubeconfig", "credentials.json", "service-account*.json", "*.htpasswd",
)  # fmt: skip
_SECRET_SCAN_BYTES = 64 * 1024  # keys stand at the start of their files
_SECRET_TEXT = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----\s*[A-Za-z0-9+/=\r\n]{40}"  # a key, not a mention
    rb"|aws_secret_access_key\s*=\s*\S{30}"
    rb'|"private_key"\s*:\s*"-----BEGIN'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """`root`: the folder that the paths are relative to. `entry`: the model within it, "" for the folder itself.
    `files`: sorted, with `/`. `left_out`: what stands there and isn't packed, for a note."""

    root: Path
    entry: str
    files: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())


def layout_of(path: str, directory: Path, *, allow: tuple[str, ...] = ()) -> Layout:
    """Of `spec.model.path`, relative to `directory`. `allow`: patterns of names that are packed although they look like
    secrets or are hidden. Raises UserError, without the file's name, where it can't be packed."""
    if is_import(path):
        raise UserError(
            f"{path} names a class to import, which is in no file that could be packed; it needs an image that holds "
            "the package: plimsoll build"
        )
    model = directory / path
    try:
        if model.is_dir():
            found = _below(model, "", directory, allow)
        elif not model.is_file():
            raise UserError(f"{path} {'is neither a file nor a folder' if model.exists() else 'does not exist'}")
        elif model.suffix == ".py":
            found = _below(model.parent, model.name, directory, allow)
        else:
            found = Layout(model.parent, model.name, (model.name,))
        if not found.files:
            raise UserError(f"{path} is a folder without files to pack")
        _refuse_secrets(found, allow)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return found


def _below(root: Path, entry: str, directory: Path, allow: tuple[str, ...]) -> Layout:
    ignored = Ignored(_patterns(root, directory))
    files: list[str] = []
    left: list[str] = []
    for name, is_folder, taken in _walk(root, "", ignored, allow):
        if taken and not is_folder:
            files.append(name)
            if len(files) > _FILES_MAX:
                raise UserError(
                    f"{root} holds more than {_FILES_MAX} files; give the model a folder of its own, "
                    f"or name what doesn't belong to it in {IGNORE_FILE}"
                )
        elif not taken:
            left.append(f"{name}/" if is_folder else name)
    if entry and entry not in files:
        files.append(entry)
    return Layout(root, entry, tuple(sorted(files)), tuple(sorted(left)))


def _patterns(root: Path, directory: Path) -> list[str]:
    """From the model's own folder, then from the service file's, when that is another."""
    found: list[str] = []
    for folder in dict.fromkeys((directory.resolve(), root.resolve())):
        file = folder / IGNORE_FILE
        if file.is_file():
            found += file.read_text(encoding="utf-8", errors="replace").splitlines()
    return found


def _walk(root: Path, within: str, ignored: Ignored, allow: tuple[str, ...]) -> Iterator[tuple[str, bool, bool]]:
    """(path, whether a folder, whether it is taken) in a fixed order. Links to folders are not followed: one may lead
    back up."""
    for one in sorted(os.scandir(root / within), key=lambda entry: entry.name):
        path = f"{within}{one.name}"
        if one.is_dir():
            taken = not (one.is_symlink() or ignored(path, folder=True) or _is_made(one.path))
            yield path, True, taken
            if taken:
                yield from _walk(root, f"{path}/", ignored, allow)
        elif one.is_file():
            taken = _named(path, allow) or not (ignored(path, folder=False) or _is_service_file(one))
            yield path, False, taken


def _is_made(folder: str) -> bool:
    """A virtual environment, or what `plimsoll build` wrote beside the model."""
    return any(os.path.exists(f"{folder}/{mark}") for mark in ("pyvenv.cfg", BUILD_MARK))


def _is_service_file(entry: "os.DirEntry[str]") -> bool:
    """Service files of ours beside the model: settings, which come to the cluster on their own."""
    if not entry.name.endswith((".yaml", ".yml")) or entry.stat().st_size > 1 << 20:
        return False
    return b"plimsoll.dev/" in Path(entry.path).read_bytes()


def _named(path: str, patterns: tuple[str, ...]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in patterns)


def _refuse_secrets(found: Layout, allow: tuple[str, ...]) -> None:
    for path, why in suspicious(found.root, found.files):
        if not _named(path, allow):
            raise UserError(
                f"{path} {why}: models are readable to everybody who may read their artifact; move it away, name it in "
                f"{IGNORE_FILE}, or pack it after all with --allow {path}"
            )


def suspicious(
    root: Path, files: tuple[str, ...], read: Callable[[Path], bytes] | None = None
) -> Iterator[tuple[str, str]]:
    """(path, why) of files that look like secrets, by name or by what stands in their first 64 KiB."""
    for path in files:
        if _named(path, _SECRET_NAMES):
            yield path, "has a name as secrets have"
            continue
        if _SECRET_TEXT.search(read(root / path) if read else _start(root / path)):
            yield path, "holds a private key"


def _start(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(_SECRET_SCAN_BYTES)
