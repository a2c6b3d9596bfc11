"""Tells the log that predict failed: what and where, never with which input. An exception's text may quote one, so only
its type is told; the client gets the text."""

import logging
import os
import traceback
from time import monotonic

import plimsoll
from plimsoll.core.errors import ModelFailed
from plimsoll.telemetry.logs import Limiter

_log = logging.getLogger(__name__)
_limiter = Limiter(every_s=10.0)
_OURS = os.path.dirname(plimsoll.__file__) + os.sep
_FRAMES = 4  # the innermost: where it went wrong, and how it came there


def log_failure(error: BaseException, requests: int) -> None:
    """One line each 10 s for each place that fails."""
    cause = error.__cause__ if isinstance(error, ModelFailed) and error.__cause__ is not None else error
    at = _where(cause)
    known = isinstance(cause, ModelFailed)  # our own words hold nothing of an input
    what = str(cause) if known else type(cause).__name__
    more = _limiter.admit((what, at), monotonic())
    if more is not None:
        fields = {"error": what, "at_line": at, "requests": requests, "more_since": more}
        _log.error("predict failed", extra={key: value for key, value in fields.items() if value})


def _where(error: BaseException) -> str:
    """`model.py:12 predict > model.py:16 judge`: the frames outside this package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    return " > ".join(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames[-_FRAMES:])
