"""Where a running `plimsoll up` keeps its sockets, logs and revisions, and how other commands find it.

One folder an instance, named by the gateway's port: `$XDG_RUNTIME_DIR/plimsoll/<port>`, or `/tmp/plimsoll-<uid>/<port>`
where that is unset or too long (a Unix socket's path ends at 103 bytes on macOS, 107 on Linux, and replicas' names
need about 60 of them). The owner holds a POSIX lock on `lock` as long as it lives: the kernel drops it however the
process ends, children never inherit it, so a folder whose lock is free is a leftover and may be cleaned.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from plimsoll.core.errors import HostError, UserError

ROOT_BYTES_MAX = 36  # leaves 67 of macOS's 103 for "/65535/r/<service>-<revision>-<n>.sock"
NOT_RUNNING = "no running plimsoll found; start one with: plimsoll up FILE"


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance says of itself in `instance.json`; written once it serves its admin API."""

    pid: int
    port: int
    gateway: str  # http://localhost:8080
    admin: str  # http://localhost:8090
    admin_socket: str
    started_at: float  # unix seconds
    version: str


def run_root(env: Mapping[str, str] | None = None) -> Path:
    """The folder of all instances of this user."""
    env = os.environ if env is None else env
    runtime = env.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.isdir(runtime):
        root = Path(runtime) / "plimsoll"
        if len(os.fsencode(root)) <= ROOT_BYTES_MAX:
            return root
    return Path(f"/tmp/plimsoll-{os.getuid()}")


def _private_folder(path: Path) -> None:
    """Makes `path` with mode 0700; refuses one that another user could have put there."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make {path}: {error.strerror}") from error
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise HostError(f"{path} is not a folder of yours; remove it or set XDG_RUNTIME_DIR")
    path.chmod(0o700)


@contextlib.contextmanager
def told_in_a_line(root: Path | None = None) -> Iterator[None]:
    """Turns what the disk refuses below the folder of all instances (it is full, say) into a HostError."""
    try:
        yield
    except OSError as error:
        inside = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
        if not inside.startswith(f"{run_root() if root is None else root}/"):
            raise
        raise HostError(f"{inside}: {error.strerror or error}") from error


def _locked(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class RunFolder:
    """The folder of one instance, held by this process until `remove`."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path, self._lock_fd = path, lock_fd

    @classmethod
    def take(cls, port: int, *, root: Path | None = None) -> "RunFolder":
        """Raises HostError where a live instance has this port; cleans what a dead one left."""
        root = run_root() if root is None else root
        _private_folder(root)
        path = root / str(port)
        while True:
            _private_folder(path)
            lock = path / "lock"
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _locked(fd):
                os.close(fd)
                raise HostError(
                    f"a plimsoll already runs on port {port}{_pid_of(path)}; "
                    "change it with: plimsoll apply FILE; or choose another port with --port"
                )
            try:
                if os.fstat(fd).st_ino == lock.stat().st_ino:
                    break
            except FileNotFoundError:
                pass
            os.close(fd)  # its last owner removed the folder between our open and our lock
        for leftover in path.iterdir():
            if leftover.name != "lock":
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        return cls(path, fd)

    def publish(self, instance: Instance) -> None:
        """Written aside and renamed: a reader sees all of it or nothing."""
        aside = self.path / "instance.json.new"
        aside.write_text(json.dumps(asdict(instance)), encoding="utf-8")
        aside.rename(self.path / "instance.json")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock_fd)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()  # the last instance takes the root with it


def _pid_of(path: Path) -> str:
    instance = _read(path)
    return f" (pid {instance.pid})" if instance else ""


def _read(path: Path) -> Instance | None:
    try:
        return Instance(**json.loads((path / "instance.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # not up yet, or going down


def _alive(path: Path) -> bool:
    try:
        fd = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(fd)
    finally:
        os.close(fd)


def running(root: Path | None = None) -> list[Instance]:
    """The live instances of this user, by port. Never call it in a process that holds a RunFolder: closing any
    descriptor of a file drops this process's own lock on it."""
    root = run_root() if root is None else root
    if not root.is_dir():
        return []
    found = [_read(path) for path in root.iterdir() if path.name.isdigit() and _alive(path)]
    return sorted((instance for instance in found if instance), key=lambda instance: instance.port)


def find(port: int | None = None, *, root: Path | None = None) -> Instance:
    """The instance on `port`, or the only one. Raises UserError where there is none, or a choice to make."""
    instances = running(root)
    if port is not None:
        for instance in instances:
            if instance.port == port:
                return instance
        others = ", ".join(str(instance.port) for instance in instances)
        hint = f"; running: {others}" if others else f"; start one with: plimsoll up FILE --port {port}"
        raise UserError(f"no running plimsoll on port {port}{hint}")
    if not instances:
        raise UserError(NOT_RUNNING)
    if len(instances) > 1:
        ports = ", ".join(str(instance.port) for instance in instances)
        raise UserError(f"{len(instances)} plimsolls are running; choose one with --port: {ports}")
    return instances[0]
