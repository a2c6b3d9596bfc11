"""A list of models kept ready in a cache: one after the other, each tried again later when it fails."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.fetching.cache import DoesNotFit, ModelCache
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.listing import is_digest
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.core.errors import PlimsollError, UserError

_log = logging.getLogger("plimsoll.fetch")
_FIRST_S, _LONGEST_S = 15.0, 900.0


@dataclass(frozen=True, slots=True)
class Wanted:
    uri: str
    digest: str


def parse_wanted(text: str) -> list[Wanted]:
    """`URI DIGEST` a line (`#`: a comment), or a JSON list of `{"uri": …, "digest": …}`. Raises UserError."""
    if text.lstrip().startswith("["):
        try:
            pairs = [(str(one["uri"]), str(one["digest"])) for one in json.loads(text)]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"the list of models is no JSON list of uri and digest: {error!r}") from None
    else:
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        pairs = [(line[0], line[1] if len(line) > 1 else "") for line in lines]
    for uri, digest in pairs:
        parse_uri(uri)
        if not is_digest(digest):
            raise UserError(f"{uri}: a model is kept by its digest; write sha256:… behind it")
    return [Wanted(*pair) for pair in pairs]


class Keeper:
    """Brings what is wanted, once each. `now` in seconds of any clock."""

    def __init__(self, cache: ModelCache, fetcher: Fetcher) -> None:
        self._cache, self._fetcher = cache, fetcher
        self._failed: dict[Wanted, tuple[int, float]] = {}  # how often, when it is tried again
        self._too_large: set[Wanted] = set()
        self._tried_with: tuple[frozenset[str], int | None] = frozenset(), None  # what those had to fit beside, and in

    @property
    def failing(self) -> bool:
        """Whether something is to be tried again."""
        return bool(self._failed)

    def work(self, wanted: Iterable[Wanted], now: float) -> list[Wanted]:
        """Fetches what is missing and due; those that failed. Never raises for a single model."""
        all_of_it = list(dict.fromkeys(wanted))
        digests = frozenset(one.digest for one in all_of_it)
        self._failed = {one: failure for one, failure in self._failed.items() if one in all_of_it}
        if self._tried_with != (digests, self._cache.max_bytes):
            self._too_large.clear()
            self._tried_with = digests, self._cache.max_bytes
        failed = []
        for one in all_of_it:
            count, due = self._failed.get(one, (0, now))
            if self._cache.has(one.digest) or one in self._too_large or due > now:
                continue
            try:
                self._cache.keep(one.uri, one.digest, self._fetcher, wanted=digests)
                self._failed.pop(one, None)
                _log.info("kept ready", extra={"uri": one.uri, "digest": one.digest})
            except DoesNotFit as error:
                self._too_large.add(one)
                self._failed.pop(one, None)
                failed.append(one)
                _log.error("not kept: %s", error, extra={"uri": one.uri, "digest": one.digest})
            except (PlimsollError, OSError) as error:
                self._failed[one] = (count + 1, now + min(_LONGEST_S, _FIRST_S * 2.0**count))
                failed.append(one)
                _log.error("not fetched: %s", error, extra={"uri": one.uri, "digest": one.digest})
        self._cache.evict(digests)
        self._cache.evict(frozenset())  # a bound that became smaller holds, too
        return failed


def read_wanted(file: Path) -> list[Wanted] | None:
    """None, said in the log, where the file can't be read or is wrong: what was wanted before stays wanted."""
    try:
        return parse_wanted(file.read_text(encoding="utf-8"))
    except (OSError, UserError) as error:
        _log.error("the list of models cannot be read: %s", error, extra={"file": str(file)})
        return None
