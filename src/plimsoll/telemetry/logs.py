"""Structured logs on the standard library's `logging`: JSON lines for machines, one plain line for people.

    log = logging.getLogger("plimsoll.control")
    log.info("replica ready", extra={"service": "digits", "replica": "digits-7c9e41a-0"})

Whatever is in `extra` becomes a field. Payloads don't belong in a log: fields named after one are withheld here, and
nothing of ours puts one into a message.
"""

import json
import logging
import sys
import traceback
from collections.abc import Collection, Hashable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Format = Literal["json", "console"]

ROOT = "plimsoll"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_PAYLOADS = frozenset({"body", "payload", "inputs", "outputs", "prompt", "completion", "instances", "predictions"})
_SECRETS = frozenset({"authorization", "token", "password", "secret", "api_key", "cookie"})


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller put into `extra`."""
    return {
        key: "(withheld)" if key.lower() in _PAYLOADS or key.lower() in _SECRETS else value
        for key, value in record.__dict__.items()
        if key not in _STANDARD and not key.startswith("_")
    }


class JsonFormatter(logging.Formatter):
    """`{"at": RFC 3339 in UTC, "level": …, "logger": …, "message": …, …fields, "exception"?: traceback}`, one line.
    `always`: fields that every line gets, such as which replica speaks."""

    def __init__(self, always: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._always = dict(always or {})

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in (self._always | fields_of(record)).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """`14:02:07 warning  message  key=value …`, local time; the traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = _console(record.created, record.levelname.lower(), record.getMessage(), fields_of(record))
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def parse(line: str) -> dict[str, Any] | None:
    """One of our JSON lines, read back; None for any other line, such as what a model printed."""
    if not line.startswith('{"at":'):
        return None
    try:
        record: dict[str, Any] = json.loads(line)
        datetime.fromisoformat(record["at"])
        return record if {"level", "logger", "message"} <= record.keys() else None
    except (ValueError, KeyError, TypeError):
        return None


_LONG = ("exception", "detail")  # text of several lines, which stands below


def readable(record: Mapping[str, Any], hide: Collection[str] = ()) -> list[str]:
    """The console's form of a parsed JSON line: one line, and below it those of a traceback. `hide`: fields that the
    reader knows already."""
    fields = {
        key: value
        for key, value in record.items()
        if key not in {"at", "level", "logger", "message", *_LONG} and key not in hide
    }
    at = datetime.fromisoformat(record["at"]).timestamp()
    lines = [_console(at, str(record["level"]), str(record["message"]), fields)]
    for key in _LONG:
        lines += map(_one_line, str(record.get(key) or "").splitlines())
    return lines


def _console(at: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    clock = datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
    return f"{clock} {level:<8} {_one_line(message)}" + "".join(f"  {key}={_word(fields[key])}" for key in fields)


def _one_line(text: str) -> str:
    """Without control characters: a client's words must not write a log line, or move a terminal's cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _word(value: object) -> str:
    text = _one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


class Limiter:
    """At most one line each `every_s` for a key: what goes wrong with one request may go wrong with a thousand."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._said: dict[Hashable, tuple[float, int]] = {}  # key: (when it was last said, how often it was not since)

    def admit(self, key: Hashable, now: float) -> int | None:
        """None: keep it back. Else say it, with how many were kept back since the last time. `now`: seconds."""
        last, kept = self._said.get(key, (None, 0))
        if last is not None and now - last < self._every_s:
            self._said[key] = (last, kept + 1)
            return None
        if len(self._said) >= _KEYS_MAX:
            self._said.clear()
        self._said[key] = (now, 0)
        return kept


_KEYS_MAX = 1000


def configure(
    format: Format = "console",  # noqa: A002
    level: str = "info",
    stream: TextIO | None = None,
    always: Mapping[str, str] | None = None,
) -> None:
    """Sends everything below `plimsoll` to `stream` (stderr), each JSON line with the fields `always`. Replaces what an
    earlier call set up; leaves the root logger, and with it a user's own logging, alone."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter(always) if format == "json" else ConsoleFormatter())
    logger = logging.getLogger(ROOT)
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
