"""Sees files being saved, and says which services they belong to.

Folders are watched, not files: an editor that writes aside and renames leaves a watched file behind. Only the folders
that hold a service file or a part of a model are, so that a virtual environment beside them costs nothing.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import DefaultFilter, awatch

from plimsoll.control.model_files import ModelMissing, find_files, module_file
from plimsoll.spec import ModelService
from plimsoll.spec.formats import is_import

STEP_MS = 30  # how often changes are collected
DEBOUNCE_MS = 300  # the longest time over which the writes of one save are taken together
LOOK_AGAIN_S = 2.0  # none of the folders can be watched: the user may make one


@dataclass(frozen=True, slots=True)
class Watched:
    """What one service file's services depend on. `roots`: a new file in one of these folders counts too."""

    file: Path
    files: frozenset[Path] = frozenset()
    roots: frozenset[Path] = frozenset()

    def touched(self, changed: set[Path]) -> list[Path]:
        """Which of `changed` matter to it."""
        return sorted(path for path in changed if path == self.file or path in self.files or self._is_new_code(path))

    def _is_new_code(self, path: Path) -> bool:
        return path.suffix == ".py" and not path.name.startswith("test_") and path.parent in self.roots

    @property
    def folders(self) -> set[Path]:
        return {self.file.parent, *self.roots, *(file.parent for file in self.files)}


def watched(file: Path, services: list[ModelService]) -> Watched:
    """`file` is absolute. A model that is missing now is seen when it appears."""
    files: set[Path] = set()
    roots: set[Path] = set()
    for service in services:
        path = service.spec.model.path
        if path is None:
            continue  # an artifact doesn't change
        if is_import(path):
            module = module_file(path, file.parent)
            files |= {module.absolute()} if module is not None else set()
            continue
        model = Path(os.path.normpath(file.parent / path))
        files.add(model)
        try:
            found = find_files(model)
        except ModelMissing:
            continue
        if found.root is not None:
            files |= {found.root / name for name in found.files}
            if model.suffix == ".py" or model.is_dir():
                roots |= {found.root, *((found.root / name).parent for name in found.files)}
    return Watched(file, frozenset(files), frozenset(roots))


@dataclass(slots=True)
class Watcher:
    """`changes` yields sets of absolute paths; after each, what `folders` returns is watched."""

    folders: Callable[[], set[Path]]
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def changes(self) -> AsyncIterator[set[Path]]:
        while not self.stop.is_set():
            now = {folder for folder in self.folders() if folder.is_dir()}
            if not now:
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            async for events in awatch(
                *now, watch_filter=DefaultFilter(), debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=self.stop,
                recursive=False, raise_interrupt=False, ignore_permission_denied=True,
            ):  # fmt: skip
                yield {Path(path) for _, path in events}
                if {folder for folder in self.folders() if folder.is_dir()} != now:
                    break


def cause(touched: list[Path]) -> str:
    """How events call it: `model.py changed`, `3 files changed`."""
    return f"{touched[0].name} changed" if len(touched) == 1 else f"{len(touched)} files changed"
