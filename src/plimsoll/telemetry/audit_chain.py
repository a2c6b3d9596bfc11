"""The audit log's form: JSON lines, each with the SHA-256 of itself and of the line before. Written and checked here.

    {"seq":2,"time":"2026-11-22T14:02:07.123456Z","kind":"request", … ,"prev":"9f…","hash":"4c…"}

`hash` = SHA-256 of the 64 hex digits of `prev`, then the line as it stands up to `,"prev":`, then `}`. No parser has
to agree on anything: `sed` and `sha256sum` can check a line. A log begins with `prev` of 64 zeros; each further file
goes on from the last line of the file before.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from plimsoll.core.errors import UserError

GENESIS: Final = "0" * 64
_TAIL: Final = re.compile(rb',"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\n\Z')
_TAIL_BYTES: Final = 160  # of `,"prev":…}\n`, and a little more
_encode: Final = msgspec.json.Encoder().encode
_REMEMBERED: Final = 1024
MAX_LINE_BYTES: Final = 64 * 1024  # ours have about 500


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands: the last line's number and hash."""

    seq: int = 0
    hash: str = GENESIS


def utc(seconds: float) -> str:
    """RFC 3339 with microseconds. `seconds`: since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seal(record: dict[str, Any], head: Head) -> tuple[bytes, Head]:
    """The next line with its newline, and the head after it. `record`: without seq, prev and hash."""
    return seal_text(_encode(record)[1:-1], head)


def seal_text(text: bytes, head: Head) -> tuple[bytes, Head]:
    """`seal` for a record that is JSON already, without its braces."""
    seq, before = head.seq + 1, head.hash.encode()
    text = b'{"seq":%d,%b' % (seq, text)
    digest = sha256(b"%b%b}" % (before, text)).hexdigest()
    return b'%b,"prev":"%b","hash":"%b"}\n' % (text, before, digest.encode()), Head(seq, digest)


class Digest(NamedTuple):
    """A body's size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str

    @classmethod
    def of(cls, body: bytes) -> "Digest":
        return cls(len(body), sha256(body).hexdigest())  # lets other threads run from 2 KiB on


class RequestText:
    """A request's record as JSON without braces, 2 us: what repeats from request to request is encoded once."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._second, self._time = 0, b""
        self._known: dict[tuple[str, str, str, str, int], bytes] = {}

    def __call__(
        self,
        request: str,
        tenant: str,
        service: str,
        revision: str,
        outcome: str,
        status: int,
        body: bytes | Digest,
        at: float,
    ) -> bytes:
        """`at`: seconds since the epoch. Of `body` only the digest is told."""
        second = int(at)
        if second != self._second:
            self._second, self._time = second, utc(second)[:19].encode()
        told = (tenant, service, revision, outcome, status)
        middle = self._known.get(told)
        if middle is None:
            middle = self._remember(told)
        size, digest = body if isinstance(body, Digest) else (len(body), sha256(body).hexdigest())
        micros = int((at - second) * 1e6)
        return b'"time":"%b.%06dZ","kind":"request",%b,"request":%b,"bytes":%d,"body":"%b"' % (
            self._time, micros, middle, _encode(request), size, digest.encode(),
        )  # fmt: skip

    def _remember(self, told: tuple[str, str, str, str, int]) -> bytes:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        names = ("gateway", "tenant", "service", "revision", "outcome", "status")
        text = self._known[told] = _encode(dict(zip(names, (self._gateway, *told), strict=True)))[1:-1]
        return text


def check(line: bytes) -> tuple[dict[str, Any], str, str]:
    """(record, prev, hash) of one line that is whole and as it was written. ValueError says what is wrong."""
    found = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    if found is None:
        raise ValueError("no whole line of an audit log")
    text = line[: found.start()] + b"}"
    if _digest(found[1], text) != found[2].decode():
        raise ValueError("the line does not match its hash: it was changed")
    try:
        record = json.loads(text)
    except ValueError:
        raise ValueError("the line is no JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("seq"), int):
        raise ValueError("the line has no seq")
    return record, found[1].decode(), found[2].decode()


def _digest(prev: bytes, text: bytes) -> str:
    return sha256(prev + text).hexdigest()


# --- verifying ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verdict:
    """What a reading of the files found. `broken`: `FILE:LINE  what is wrong` of the first break, else empty."""

    files: list[str] = field(default_factory=list)
    records: int = 0
    requests: int = 0
    lost: int = 0  # requests that gap records own up to
    unfinished: bool = False  # the last line has no end: it is being written, or a crash cut it
    torn: int = 0  # ends cut off by a crash, repaired at the next start
    first_seq: int = 0
    first_time: str = ""
    last_time: str = ""
    head: Head = field(default_factory=Head)
    whole: bool = False  # begins with the first record there ever was
    broken: str = ""


def verify(paths: Sequence[Path], kept: str | None = None) -> Verdict:
    """Reads the files in the order of their first records. Raises UserError for one that can't be read or is empty of
    records; a break is in the verdict. `kept`: the hash of a line, from elsewhere, that must be among them."""
    verdict, found = Verdict(), kept is None
    for path, number, line in _lines(_in_order(paths), verdict):
        verdict.unfinished = not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES
        if verdict.unfinished:
            continue  # the end of a file; if another follows, its first record will be found not to
        try:
            record, prev, digest = check(line)
            if not verdict.records:
                verdict.first_seq, verdict.first_time = record["seq"], str(record.get("time", ""))
                verdict.whole = prev == GENESIS and record["seq"] == 1
            else:
                _follows(record["seq"], prev, verdict.head)
        except ValueError as error:
            verdict.broken = f"{path}:{number}  {error}"
            return verdict
        verdict.records += 1
        verdict.head = Head(record["seq"], digest)
        verdict.last_time = str(record.get("time", ""))
        kind = record.get("kind")
        found = found or digest == kept
        verdict.requests += kind == "request"
        verdict.torn += kind == "torn"
        verdict.lost += int(record.get("lost", 0)) if kind == "gap" else 0
    if not found:
        verdict.broken = (
            f"{verdict.files[-1]}  the head that was kept is no line here: the log was cut off or rewritten"
        )
    return verdict


def _follows(seq: int, prev: str, head: Head) -> None:
    if prev == head.hash and seq == head.seq + 1:
        return
    if seq > head.seq + 1:
        raise ValueError(f"record {seq} follows record {head.seq}: {seq - head.seq - 1} are missing")
    raise ValueError(
        f"record {seq} does not follow record {head.seq}: lines were removed, added or put in another order"
    )


def _in_order(paths: Sequence[Path]) -> list[Path]:
    """By the number of the first record; a file whose first line can't be read stays where it was given."""
    if not paths:
        raise UserError("name the audit log's files")
    order: list[tuple[float, int, Path]] = []
    for place, path in enumerate(paths):
        try:
            with path.open("rb") as file:
                seq = check(file.readline(MAX_LINE_BYTES))[0]["seq"]
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            seq = order[-1][0] if order else 0
        order.append((seq, place, path))
    return [path for _, _, path in sorted(order)]


def _lines(paths: Iterable[Path], verdict: Verdict) -> Iterator[tuple[Path, int, bytes]]:
    for path in paths:
        verdict.files.append(str(path))
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                yield path, number, line
