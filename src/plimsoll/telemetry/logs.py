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
    """`{"at": RFC 3339 in UTC, "level": …, "logger": …, "message": …, …fields, "exception"?: traceback}`, one line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in fields_of(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """`14:02:07 warning  message  key=value …`, local time; the traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f"  {key}={_word(value)}" for key, value in fields_of(record).items())
        line = f"{at} {record.levelname.lower():<8} {_one_line(record.getMessage())}{fields}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def _one_line(text: str) -> str:
    """Without control characters: a client's words must not write a log line, or move a terminal's cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _word(value: object) -> str:
    text = _one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


def configure(format: Format = "console", level: str = "info", stream: TextIO | None = None) -> None:  # noqa: A002
    """Sends everything below `plimsoll` to `stream` (stderr). Replaces what an earlier call set up; leaves the root
    logger, and with it a user's own logging, alone."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    logger = logging.getLogger(ROOT)
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
