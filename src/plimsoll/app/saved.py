"""Applies files as they are saved: service files and models. What is refused stands in the terminal.

Secrets are not watched: the controller looks at them at each turn (`control.edge`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from plimsoll.app.sources import named, service_files
from plimsoll.app.watch import Watched, Watcher, cause, watched
from plimsoll.control.controller import Controller
from plimsoll.control.status import Phase
from plimsoll.control.timeline import Kind, Level
from plimsoll.core.errors import PlimsollError, SpecErrors, UserError
from plimsoll.spec import ModelService, load_all_file

LOG = logging.getLogger(__name__)


class SavedFiles:
    """`paths`: as on the command line, so that a new file in a folder that was named is seen. `note` and `trouble` are
    the terminal's (see `app.up.Reporter`)."""

    def __init__(
        self,
        paths: Sequence[Path],
        controller: Controller,
        *,
        note: Callable[[str, str], None],
        trouble: Callable[[str], None],
        stop: asyncio.Event,
    ) -> None:
        self._paths, self._controller = paths, controller
        self._note, self._trouble, self._stop = note, trouble, stop
        self._watched: dict[Path, Watched] = {}

    async def watch(self, files: Sequence[Path], services: Sequence[ModelService]) -> None:
        """Until `stop`. `files`: absolute; `services`: what was loaded from them."""
        try:
            by_file = {file: [one for one in services if _absolute(one.origin.file) == file] for file in files}
            self._watched = {file: watched(file, found) for file, found in by_file.items()}
            await self._watch()
        except Exception as error:  # the system's limit of watches, say: everything else goes on
            self._trouble(f"saved files are not noticed any more ({error}); use: plimsoll apply FILE")
            LOG.exception("watching ended")

    async def _watch(self) -> None:
        watcher = Watcher(lambda: set().union(*(entry.folders for entry in self._watched.values())), self._stop)
        async for changed in watcher.changes():
            self._look_for_new_files()
            for file, entry in list(self._watched.items()):
                touched = entry.touched(changed)
                if touched:
                    await self._take(file, cause(touched))

    def _look_for_new_files(self) -> None:
        with contextlib.suppress(UserError):
            for file in service_files(self._paths):
                self._watched.setdefault(file, Watched(file))

    async def _take(self, file: Path, why: str) -> None:
        """A saved file takes over, or its errors stand in the terminal and nothing changes."""
        if not await asyncio.to_thread(file.exists):
            self._trouble(f"{file.name} is gone; its services go on (plimsoll delete NAME ends one)")
            return
        try:
            found = load_all_file(named(file))
            self._watched[file] = await asyncio.to_thread(watched, file, list(found.services))
            before = {one.name: one.revision for one in self._controller.statuses() if one.phase is Phase.READY}
            for one in await self._controller.apply(found, cause=why):
                if one.kind != "ModelService" and one.change != "unchanged":
                    self._note("", f"{why}: {one.kind.lower()} {one.name} {one.change}")
                elif one.change == "updated" and before.get(one.name) == one.revision:
                    self._note(one.name, f"{why}: applied; no replica had to be replaced")
        except PlimsollError as error:
            self._refuse(error)

    def _refuse(self, error: PlimsollError) -> None:
        lines = [str(one) for one in error.errors] if isinstance(error, SpecErrors) else str(error).splitlines()
        for line in lines:
            self._controller.timeline.record("", Kind.REFUSED, line, level=Level.ERROR)


def _absolute(file: str) -> Path:
    return Path(file).absolute()
