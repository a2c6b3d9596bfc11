"""The one tree of errors, named by what the caller can do about them.

PlimsollError
├── RequestError            one request ends with `outcome`; every other request is unharmed
│   ├── Refused             nothing was computed
│   │   ├── Invalid         mend the request
│   │   ├── TooLarge        send less
│   │   ├── NotFound        another name
│   │   ├── Unauthorized    other credentials
│   │   ├── Throttled       later (`retry_after_s`): the client's own doing
│   │   └── Shed            later (`retry_after_s`): ours
│   └── Failed              we tried
│       ├── Expired         the deadline passed in the queue
│       ├── NoReplica       later: nothing is there to answer
│       ├── ReplicaLost     later: the replica died before it answered
│       ├── ModelFailed     mend the model
│       └── Cancelled       nobody is there to tell
├── UserError               mend a file or a command line; printed without a traceback, exit code 2
│   ├── SpecError           a service file: names file, line, key, what was expected
│   ├── SpecErrors          all that is wrong with one or more service files: many SpecErrors
│   └── ModelLoadError      a model file: names file and line where known
└── HostError               this machine or cluster refused: a port is taken, a process won't start
"""

from collections.abc import Iterable

from plimsoll.core.outcome import Outcome


class PlimsollError(Exception):
    """`str()` of every error of ours is one line that names the place and the remedy."""


class RequestError(PlimsollError):
    outcome: Outcome

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Refused(RequestError):
    """Nothing was computed for it."""


class Invalid(Refused):
    """`status` tells the edge a closer code than 400 where HTTP has one: 405, 408, 415, 431, 501."""

    outcome = Outcome.INVALID

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class TooLarge(Refused):
    outcome = Outcome.TOO_LARGE


class NotFound(Refused):
    outcome = Outcome.NOT_FOUND


class Unauthorized(Refused):
    """`status`: 401 wants (other) credentials; 403 knows them, and they don't reach this far."""

    outcome = Outcome.UNAUTHORIZED

    def __init__(self, reason: str, *, status: int = 401) -> None:
        super().__init__(reason)
        self.status = status


class Throttled(Refused):
    outcome = Outcome.THROTTLED


class Shed(Refused):
    outcome = Outcome.SHED


class Failed(RequestError):
    """We tried."""


class Expired(Failed):
    outcome = Outcome.EXPIRED


class NoReplica(Failed):
    outcome = Outcome.NO_REPLICA


class ReplicaLost(Failed):
    outcome = Outcome.REPLICA_LOST


class ModelFailed(Failed):
    outcome = Outcome.MODEL_ERROR


class Cancelled(Failed):
    outcome = Outcome.CANCELLED


class UserError(PlimsollError):
    """The user mends it; the CLI prints it without a traceback and exits with 2."""


class SpecError(UserError):
    """`str()` is `FILE:LINE  PATH.OF.KEY: what is wrong; what was expected`."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, key: str = "") -> None:
        self.message, self.file, self.line, self.key = message, file, line, key
        place = f"{file}:{line}" if line else file
        super().__init__("  ".join(part for part in (place, f"{key}: {message}" if key else message) if part))


class SpecErrors(UserError):
    """Everything that is wrong, not only the first: `errors` is never empty, `str()` is one line for each."""

    def __init__(self, errors: Iterable[SpecError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class ModelLoadError(UserError):
    """`str()` is `FILE:LINE reason`; `detail` holds more lines, such as the author's traceback."""

    def __init__(self, reason: str, *, file: str = "", line: int = 0, detail: str = "") -> None:
        self.reason, self.file, self.line, self.detail = reason, file, line, detail
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place} {reason}" if place else reason)


class HostError(PlimsollError):
    """The machine or the cluster refused: a port is taken, a process won't start."""
