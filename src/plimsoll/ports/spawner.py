"""Starting processes. Implemented in `backends/local` by a warm fork server and by a plain exec.

A child runs `entry(context)`. It gets a status pipe, on which it writes one JSON object a line, and a lifeline: a pipe
whose other end only its spawner's owner holds, so that end-of-file means the owner is gone and the child must end.
Children ignore SIGINT, so that Ctrl-C in a terminal drains instead of killing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`args` must be JSON-able. `preload` names modules to import before the fork (numpy is always there)."""

    entry: str  # "package.module:function", called with one ChildContext in the child's main thread
    args: Mapping[str, Any]
    name: str = ""  # the process title where the system allows it, and log prefix
    log_path: str | None = None  # stdout and stderr are appended to it; None: inherited
    cpus: tuple[int, ...] = ()  # empty: any
    threads: int = 1  # for BLAS and OpenMP, set before numpy is imported
    preload: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What the child's entry gets. `fds` are the descriptors passed to `spawn`, by the same names."""

    args: Mapping[str, Any]
    status_fd: int
    lifeline_fd: int
    fds: Mapping[str, int]


class Child(Protocol):
    """A started process. Events arrive on the loop that called `spawn`."""

    @property
    def pid(self) -> int: ...

    def signal(self, number: int) -> None:
        """Quietly does nothing once the child has ended: a reused pid is never hit."""
        ...


class Spawner(Protocol):
    async def spawn(
        self,
        spec: ChildSpec,
        *,
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
        fds: Mapping[str, int] | None = None,
    ) -> Child:
        """`on_exit` gets the exit status as `subprocess` gives it: negative for a signal. The caller may close its
        copies of `fds` once this returned. Raises HostError where no process can be started."""
        ...

    async def close(self) -> None:
        """Ends every child still running (SIGTERM, then SIGKILL) and waits for them."""
        ...
