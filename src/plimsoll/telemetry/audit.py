"""The audit log of one gateway: who asked what, when, and how it ended; never what was said.

    audit = AuditLog(Path("audit/gateway-0.jsonl"), gateway="gateway-0")
    audit.start()                                    # HostError where the file can't be had
    audit.note(request_id, tenant, service, revision, outcome, status, body, time.time())   # 0.3 us, never waits
    audit.close()

The request path appends a tuple. The loop makes lines of them (`seal_held`, some a turn), 2.5 us each, and a thread
writes these each `write_s` and syncs them each `sync_s`: so much may be missing after a power cut. Not the thread makes
the lines: beside uvloop, which lets the interpreter's lock go at every event, a thread that wants it is woken and put
back each time, and a request cost 60 us more. What the disk doesn't take is counted, and a `gap` record owns up to it
once there is room again. The form of a line, and what a chain of hashes proves: `audit_chain`, docs/security.md.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import Final, NamedTuple, TypeAlias

from plimsoll.telemetry.audit_chain import Digest, Head, RequestText, seal, seal_text, utc
from plimsoll.telemetry.audit_file import AuditFile
from plimsoll.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_LINES_A_TURN: Final = 400  # 1 ms of the loop at most; with a turn each 20 ms 20,000 lines a second
_LARGE: Final = 64 * 1024  # the digest of a larger body is the thread's: it lets others run meanwhile
_QUIET_S: Final = 30.0

Note: TypeAlias = tuple[str, str, str, str, str, int, bytes | Digest, float]


class Sealed(NamedTuple):
    """Lines of `records` records, where the chain stands after them, and when the first of them ended."""

    lines: bytes
    head: Head
    records: int
    since: float


@dataclass(frozen=True, slots=True)
class AuditSettings:
    max_file_bytes: int = 64 * 2**20  # then it is renamed, and the chain goes on in a new file
    max_held: int = 100_000  # records waiting for the thread, 30 MB; further ones are lost, and counted
    max_held_bytes: int = 256 * 2**20  # bodies waiting for their digest: four of the largest
    write_s: float = 0.1
    sync_s: float = 1.0


class AuditLog:
    """`note` is for one thread, the loop's. One process a file: a second is refused."""

    def __init__(
        self,
        path: Path,
        settings: AuditSettings | None = None,
        *,
        gateway: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.settings = settings or AuditSettings()
        self._gateway = gateway
        self._text = RequestText(gateway)
        self._clock = clock
        self._file = AuditFile(path, self.settings.max_file_bytes)
        self._held: deque[Note] = deque()
        # Each number has one writer at a time: the loop's thread the first three, the log's own thread the others.
        self._most, self._most_bytes = self.settings.max_held, self.settings.max_held_bytes
        self._bytes_in = self._bytes_out = 0  # of bodies that came, and that were digested
        self._refused = 0  # lost because too much was waiting
        self._bytes_done = 0  # the same, of bodies that the thread digested or gave up
        self._unwritten = 0  # lost because the disk didn't take it
        self._owned_up = 0  # lost, and in a gap record
        self._gap_since = 0.0
        self.written = 0
        self._synced_at = 0.0
        self._dirty = False
        self._said_at = -_QUIET_S
        # Whose turn it is: the loop seals what is held onto the chain's end, hands it over, and waits until the thread
        # has written it (or given up) before it seals more.
        self._ready = False
        self._inbox: SimpleQueue[Sealed | Note | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """Requests that have no record and never will."""
        return self._refused + self._unwritten

    @property
    def held_bytes(self) -> int:
        """Of bodies that wait for their digest."""
        return self._bytes_in - self._bytes_out - self._bytes_done

    @property
    def head(self) -> Head:
        """The last line that was written: keep it elsewhere, and nobody can shorten the log unseen."""
        return self._file.head

    def register(self, metrics: Metrics) -> None:
        """Adds `plimsoll_audit_records_total` and `plimsoll_audit_lost_total`."""
        records = metrics.counter("plimsoll_audit_records_total", "Requests that have a line in the audit log.")
        lost = metrics.counter(
            "plimsoll_audit_lost_total", "Requests that have none: the disk or the thread fell behind."
        )
        records.labels().read = lambda: self.written
        lost.labels().read = lambda: self.lost

    def start(self) -> None:
        """Opens the file, goes on where its chain ended, and starts the thread. Raises HostError."""
        self._file.open(self._gateway, time())
        self._ready = True
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def note(
        self,
        request_id: str,
        tenant: str,
        service: str,
        revision: str,
        outcome: str,
        status: int,
        body: bytes,
        wall_now: float,
    ) -> None:
        """One request has ended. `tenant`: "" for anonymous. `body`: the request's; only its digest is kept.
        `wall_now`: seconds since the epoch."""
        size = len(body)
        if len(self._held) >= self._most or self.held_bytes + size > self._most_bytes:
            self._refused += 1
            return
        self._bytes_in += size
        note = (request_id, tenant, service, revision, outcome, status, body, wall_now)
        if size > _LARGE and self._thread is not None:
            self._inbox.put(note)
        else:
            self._held.append(note)

    def seal_held(self) -> None:
        """The loop calls this often: makes lines of what is held, and hands them to the thread."""
        if self._ready and self._held:
            self._ready = False
            self._inbox.put(self._seal(_LINES_A_TURN))

    def close(self) -> None:
        """Writes what is held, syncs, ends the thread. Blocks for the disk."""
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join()
            self._thread = None
        self.turn(last=True)
        self._file.close()

    def _seal(self, most: int) -> Sealed:
        held, head, lines = self._held, self._file.head, []
        since = held[0][7]
        for _ in range(min(len(held), most)):
            note = held.popleft()
            if isinstance(note[6], bytes):
                self._bytes_out += len(note[6])
            try:
                line, head = seal_text(self._text(*note), head)
            except ValueError:  # half a surrogate pair has no UTF-8
                self._refused += 1
            else:
                lines.append(line)
        return Sealed(b"".join(lines), head, len(lines), since)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                work = self._inbox.get(timeout=self.settings.write_s)
            except Empty:
                work = Sealed(b"", self._file.head, 0, 0.0)
            if work is None:
                return
            if isinstance(work, Sealed):
                self._carry_out(work)
            else:
                *who, body, at = work
                self._held.append((*who, Digest.of(body), at))  # type: ignore[arg-type]  # a note's first six
                self._bytes_done += len(body)

    def _carry_out(self, sealed: Sealed) -> None:
        self._ready = False
        try:
            if sealed.lines:
                self._file.append(sealed.lines, sealed.head)
                self._dirty = True
                self.written += sealed.records
                sealed = Sealed(b"", sealed.head, 0, 0.0)
            self._prepare()
            self._sync()
        except Exception as error:  # the disk's, mostly; whatever it is, the thread must live
            self._give_up(sealed, error)
        else:
            self._ready = True

    def turn(self, *, last: bool = False) -> None:
        """All of it at once, where there is no thread: at the end, and in tests."""
        try:
            self._prepare()
        except Exception as error:
            self._give_up(Sealed(b"", self._file.head, 0, 0.0), error)
        while self._held:
            self._carry_out(self._seal(_LINES_A_TURN))
        if last and self._dirty:
            with suppress(OSError):
                self._file.sync()

    def _prepare(self) -> None:
        """So that more can be sealed onto the chain's end."""
        if not self._file.usable():
            self._file.open(self._gateway, time())
        self._file.make_room(self._gateway, time())
        if self.lost > self._owned_up:
            self._write_gap()

    def _sync(self) -> None:
        now = self._clock()
        if self._dirty and now - self._synced_at >= self.settings.sync_s:
            self._file.sync()
            self._synced_at, self._dirty = now, False

    def _write_gap(self) -> None:
        lost, now = self.lost - self._owned_up, time()
        record = {"time": utc(now), "kind": "gap", "gateway": self._gateway, "lost": lost}
        if self._gap_since:
            record["since"] = utc(self._gap_since)
        line, head = seal(record, self._file.head)
        self._file.append(line, head)
        self._owned_up += lost
        self._gap_since = 0.0
        self._dirty = True

    def _give_up(self, sealed: Sealed, error: Exception) -> None:
        """Serving goes on; what can't be written is counted, not kept: it would fill memory as well."""
        now = self._clock()
        self._file.give_up()
        lost, since = sealed.records, sealed.since
        while self._held:  # nobody seals meanwhile
            note = self._held.popleft()
            since = since or note[7]
            lost += 1
            if isinstance(note[6], bytes):
                self._bytes_done += len(note[6])
        if lost and not self._gap_since:
            self._gap_since = since
        self._unwritten += lost
        if now - self._said_at >= _QUIET_S:
            self._said_at = now
            _log.error("audit log can't be written: %s", error, extra={"lost": self.lost})
