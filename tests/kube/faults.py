"""What goes wrong on purpose, and what was asked: refusals for a while, slowness, a log of requests with counts."""

import collections
import threading
from dataclasses import dataclass
from typing import NamedTuple

from tests.kube.errors import ApiError


class Asked(NamedTuple):
    verb: str
    resource: str  # plural, with a subresource: deployments/scale; the path of what is no resource
    namespace: str
    name: str
    user: str
    code: int
    duration_s: float = 0.0


@dataclass
class _Refusal:
    code: int
    times: int
    verb: str
    resource: str


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._refusals = []
        self.delay_s = 0.0  # before each answer

    def answer(self, code, times=1, *, verb="", resource=""):
        """The next `times` requests (of that verb and resource: deployments, deployments/scale) get `code`."""
        with self._lock:
            self._refusals.append(_Refusal(code, times, verb, resource))

    def clear(self):
        with self._lock:
            self._refusals.clear()
            self.delay_s = 0.0

    def check(self, verb, resource):
        with self._lock:
            for one in self._refusals:
                if one.times > 0 and one.verb in ("", verb) and one.resource in ("", resource):
                    one.times -= 1
                    raise ApiError(one.code, f"told to answer {one.code}")


class RequestLog:
    """Every request, in order; a watch counts when it begins."""

    def __init__(self):
        self.entries = []

    def add(self, *fields):
        self.entries.append(Asked(*fields))

    def clear(self):
        self.entries.clear()

    def counts(self, user=None):
        """Counter of (verb, resource); `user` as a part of the name."""
        return collections.Counter(
            (one.verb, one.resource) for one in list(self.entries) if user is None or user in one.user
        )

    def of(self, verb=None, resource=None, user=None):
        return [
            one
            for one in list(self.entries)
            if verb in (None, one.verb) and resource in (None, one.resource) and (user is None or user in one.user)
        ]
