"""Revisions: one model version with its settings, kept as a copy while the user edits the original.

A revision's id is a digest over what serving depends on: the model's content, and the parts of the spec that reach the
replica. Routes, replica counts, `hold` and `retry` are the gateway's and the controller's: changing them replaces
nothing. Going back to earlier content gives the earlier id and number.
"""

import hashlib
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from plimsoll.control.model_files import ModelFiles, ModelMissing, copy, digest, digest_module, find_files
from plimsoll.core.errors import HostError
from plimsoll.core.ids import RevisionId, revision_id
from plimsoll.spec import ModelService
from plimsoll.spec.formats import is_import

_KEPT = 3  # copies of a service that nothing uses any more: enough to go back and to look at


@dataclass(frozen=True, slots=True)
class Revision:
    """`model_path`: the copy (a file or a folder), or `package.module:Class`. `directory`: the service file's folder.
    `origin`: the model as the user knows it, for messages."""

    id: RevisionId
    number: int
    service: ModelService
    model_path: str
    directory: str
    origin: str
    problem: str = ""  # why it can't even be tried; its number is then 0

    @property
    def failed(self) -> str:
        """How messages begin that say it failed."""
        return f"rev {self.number} FAILED" if self.number else "FAILED"

    def template_args(self) -> dict[str, object]:
        """What a replica's entry point gets; the backend adds the replica's own id, address and cores."""
        return {
            "service": self.service.dump(),
            "model_path": self.model_path,
            "directory": self.directory,
            "revision": self.id,
        }


class RevisionStore:
    """Blocking file work: callers run `make` and `prune` in a thread, one at a time."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / "revisions"
        self._numbers: dict[str, dict[RevisionId, int]] = {}

    def make(self, service: ModelService) -> Revision:
        """The revision of `service` as it is now on disk. Raises SpecError at `spec.model.path` where the model is
        missing or unreadable, HostError where the copy can't be written."""
        directory = service.directory.resolve()
        path = service.local_path
        settings = hashlib.sha256(_serving_settings(service, directory))
        try:
            if is_import(path):
                digest_module(path, directory, settings)
                return self._numbered(service, settings.hexdigest(), path, directory, path)
            origin = directory / path
            found = find_files(origin)
            content, model_path = self._kept_copy(service.name, found, settings)
        except ModelMissing as error:
            raise service.problem("spec.model.path", f"{path} {error}") from error
        except OSError as error:
            raise HostError(f"{self._folder}: the model cannot be copied: {error.strerror or error}") from error
        return self._numbered(service, content, str(model_path), directory, str(origin))

    def missing(self, service: ModelService, problem: str) -> Revision:
        """What stands for a service whose model isn't there: it fails, and is followed by the first real revision."""
        directory = service.directory.resolve()
        path = service.spec.model.uri or str(directory / (service.spec.model.path or ""))
        content = hashlib.sha256(_serving_settings(service, directory) + problem.encode()).hexdigest()
        return Revision(revision_id(service.name, content), 0, service, path, str(directory), path, problem)

    def prune(self, service: str, in_use: Collection[RevisionId]) -> None:
        """Deletes copies that nothing uses but the last three."""
        known = sorted(self._numbers.get(service, {}).items(), key=lambda item: item[1])
        idle = [
            revision for revision, _ in known if revision not in in_use and self._folder.joinpath(revision).exists()
        ]
        for revision in idle[: max(0, len(idle) - _KEPT)]:
            shutil.rmtree(self._folder / revision, ignore_errors=True)

    def forget(self, service: str) -> None:
        """Deletes all copies of a deleted service; a new one of that name starts at 1."""
        for revision in self._numbers.pop(service, {}):
            shutil.rmtree(self._folder / revision, ignore_errors=True)

    def _kept_copy(self, name: str, found: ModelFiles, settings: "hashlib._Hash") -> tuple[str, Path]:
        """The digest and the model's path in its copy, which is made unless it is there already."""
        content = _with_files(settings, found)
        target = self._folder / revision_id(name, content)
        if target.exists():
            return content, target / found.entry
        aside = self._folder / f".{name}.new"
        shutil.rmtree(aside, ignore_errors=True)
        copy(found, aside)
        # A save between the digest and the copy: what was copied is what counts.
        content = _with_files(settings, ModelFiles(aside, found.entry, found.files))
        target = self._folder / revision_id(name, content)
        if target.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(target)
        return content, target / found.entry

    def _numbered(self, service: ModelService, content: str, model_path: str, directory: Path, origin: str) -> Revision:
        revision = revision_id(service.name, content)
        numbers = self._numbers.setdefault(service.name, {})
        number = numbers.setdefault(revision, len(numbers) + 1)
        return Revision(revision, number, service, model_path, str(directory), origin)


def _with_files(settings: "hashlib._Hash", found: ModelFiles) -> str:
    content = settings.copy()
    digest(found, content)
    return content.hexdigest()


def _serving_settings(service: ModelService, directory: Path) -> bytes:
    written = service.dump()["spec"]
    parts = {key: written[key] for key in ("model", "runtime", "resources", "batching") if key in written}
    plain = {"timeout_s": service.timeout_s, "p99_s": service.p99_s, "directory": str(directory)}
    return json.dumps([parts, plain], sort_keys=True).encode()
