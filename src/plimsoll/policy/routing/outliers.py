"""The replica that fails or drags while its peers do well: out for a while, then on probation.

Why it is needed: a replica that fails at once has the shortest queue, so that it would get most of the traffic. What is
compared is always a replica with its peers: where all fail, or all are slow, the model is to blame, and no replica.

After Envoy's outlier detection: consecutive failures, shares compared with the others', times out that double, a
bound on how many are out. Out are at most half of the replicas, so never the last one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from plimsoll.core.outcome import ANSWERED, Outcome


class Health(StrEnum):
    WELL = "well"
    EJECTED = "ejected"  # gets nothing while others are there
    PROBATION = "probation"  # gets one request at a time until enough of them went well


@dataclass(frozen=True, slots=True)
class OutlierSettings:
    """`lost_in_row`: connections lost, without an answer between. `failed_in_row`: failures of any kind, while the
    peers' share is low. `failed_share` of at least `least_requests` recent ones (about 5 s count), and `failed_times`
    the peers' share. `slow_times` the median of the peers' mean response times, and `slow_by_s` more, each over at
    least `least_answers`. Out for `first_s`, twice as long each time, at most `longest_s`; who was well for that long
    begins anew. `probes`: good answers that end the probation."""

    lost_in_row: int = 3
    failed_in_row: int = 8
    failed_share: float = 0.3
    failed_times: float = 3.0
    least_requests: int = 10
    slow_times: float = 3.0
    slow_by_s: float = 0.005
    least_answers: int = 20
    first_s: float = 1.0
    longest_s: float = 60.0
    probes: int = 5


@dataclass(frozen=True, slots=True)
class Change:
    """For the host's log. `reason` names the numbers; `for_s`: how long it is out."""

    replica: str
    health: Health
    reason: str
    for_s: float = 0.0


_FAILED = frozenset({Outcome.REPLICA_LOST, Outcome.MODEL_ERROR})
_LOST = Outcome.REPLICA_LOST
_OK = Outcome.OK
_WELL = Health.WELL
_WEIGHT = 1 / 16  # of the newest response time in the mean
_CLIP = 4.0  # times the mean: one answer of 10 s among those of 10 ms isn't a slow replica, seven in a row are
_FRESH = 3  # answers since the last turn, in those that are compared
_TURN_S = 1.0  # how often the slow are looked for
_KEEP = 0.8  # of the counts, each turn: about 5 s count


class _Replica:
    __slots__ = (
        "answers", "failures", "fresh", "good", "health", "in_row", "lost", "mean_s", "name", "requests", "times",
        "until",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.health = Health.WELL
        self.until = 0.0  # when the time out is over; of a replica that is well: when it last became so
        self.times = 0  # how often it was out lately
        self.good = 0  # of the probation's answers
        self.clear()

    def clear(self) -> None:
        self.requests = self.failures = 0.0
        self.in_row = self.lost = 0  # failures, and lost connections, since the last answer
        self.mean_s = 0.0
        self.answers = self.fresh = 0  # in the mean; since the last turn


class Outliers:
    """One for each service. `keep` the names that the newest snapshot has; `observe` each request's end."""

    __slots__ = ("_changes", "_next", "_replicas", "quiet", "settings")

    def __init__(self, settings: OutlierSettings | None = None) -> None:
        self.settings = settings or OutlierSettings()
        self.quiet = True  # every replica is well: a host needn't ask for each
        self._replicas: dict[str, _Replica] = {}
        self._changes: list[Change] = []
        self._next = 0.0

    def keep(self, names: Iterable[str]) -> None:
        """These are the replicas now. Those that stay keep their record."""
        known = self._replicas
        self._replicas = {name: known.get(name) or _Replica(name) for name in names}
        self._settle()

    def forgive(self, replica: str) -> None:
        """Begin anew with it: it was restarted."""
        if replica in self._replicas:
            self._replicas[replica] = _Replica(replica)
            self._settle()

    def silent(self, replica: str) -> None:
        """It was, and shows life again: what it took before says nothing about now, while its peers had its work."""
        one = self._replicas.get(replica)
        if one is not None and one.health is _WELL:
            one.clear()

    def health(self, replica: str, now: float) -> Health:
        one = self._replicas.get(replica)
        if one is None:
            return Health.WELL
        if one.health is Health.EJECTED and now >= one.until:
            one.health = Health.PROBATION
            one.good = 0
            one.clear()
        return one.health

    def usable(self, replica: str, now: float, outstanding: int) -> bool:
        """Whether it may get a request. `outstanding`: this gateway's at that replica; on probation, one at a time."""
        if self.quiet:
            return True
        health = self.health(replica, now)
        return health is Health.WELL or (health is Health.PROBATION and not outstanding)

    def observe(self, replica: str, outcome: Outcome, seconds: float, now: float) -> bool:
        """`seconds`: from sending to the answer or loss. Only answers and failures count: a replica that sheds or lets
        expire keeps the budget. True where a replica's health changed: then read `changes`."""
        one = self._replicas.get(replica)
        if one is None:
            return False
        if outcome is _OK or outcome in ANSWERED:
            one.requests += 1.0
            one.in_row = one.lost = 0
            one.fresh += 1
            mean_s, answers = one.mean_s, one.answers
            one.answers = answers + 1
            if answers < 16:
                one.mean_s = mean_s + (seconds - mean_s) / (answers + 1)
            else:
                one.mean_s = mean_s + _WEIGHT * (min(seconds, _CLIP * mean_s) - mean_s)
            if one.health is not _WELL:
                self._went_well(one, seconds, now)
        elif outcome in _FAILED:
            one.requests += 1.0
            self._failed(one, outcome, now)
        if now >= self._next:
            self._turn(now)
        return bool(self._changes)

    def answered_together(self, replica: str, seconds: Sequence[float], now: float) -> bool:
        """As `observe` of an answer for each of them, in order; a quarter of the cost."""
        one = self._replicas.get(replica)
        if one is None:
            return False
        if one.health is not _WELL or one.answers < 16 or now >= self._next:
            for took_s in seconds:
                self.observe(replica, _OK, took_s, now)
            return bool(self._changes)
        count = len(seconds)
        one.requests += count
        one.in_row = one.lost = 0
        one.fresh += count
        one.answers += count
        mean_s = one.mean_s
        for took_s in seconds:
            clip_s = _CLIP * mean_s
            mean_s += _WEIGHT * ((took_s if took_s < clip_s else clip_s) - mean_s)
        one.mean_s = mean_s
        return bool(self._changes)

    def changes(self) -> list[Change]:
        """What changed since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def _failed(self, one: _Replica, outcome: Outcome, now: float) -> None:
        settings = self.settings
        one.failures += 1.0
        one.in_row += 1
        one.lost += outcome is _LOST
        health = self.health(one.name, now)
        if health is Health.EJECTED:
            return  # what was out there when it was ejected
        if health is Health.PROBATION:
            self._eject(one, "failed on probation", now)
        elif one.lost >= settings.lost_in_row:
            self._eject(one, f"lost {one.lost} requests in a row", now)
        else:
            share = one.failures / one.requests if one.requests >= settings.least_requests else 0.0
            if one.in_row < settings.failed_in_row and share < settings.failed_share:
                return
            peers = self._peers_share(one)
            if share >= settings.failed_share and share >= settings.failed_times * peers:
                self._eject(one, f"{share:.0%} of its requests failed, {peers:.0%} of its peers'", now)
            elif one.in_row >= settings.failed_in_row and settings.failed_share >= settings.failed_times * peers:
                self._eject(one, f"failed {one.in_row} requests in a row, its peers {peers:.0%}", now)

    def _went_well(self, one: _Replica, seconds: float, now: float) -> None:
        if self.health(one.name, now) is not Health.PROBATION:
            return
        peers_s = self._peers_s(one)
        if peers_s is not None and self._slow(seconds, peers_s):
            self._eject(
                one, f"on probation it answered in {seconds * 1e3:.0f} ms, its peers in {peers_s * 1e3:.0f}", now
            )
            return
        one.good += 1
        if one.good >= self.settings.probes:
            one.health = Health.WELL
            one.until = now
            self._changes.append(Change(one.name, Health.WELL, f"{one.good} good answers on probation"))
            self._settle()

    def _turn(self, now: float) -> None:
        keep = _KEEP ** min(int((now - self._next) / _TURN_S) + 1, 50)
        self._next = now + _TURN_S
        for one in self._replicas.values():
            if one.health is _WELL:
                if one.answers >= self.settings.least_answers and one.fresh >= _FRESH:
                    peers_s = self._peers_s(one)
                    if peers_s is not None and self._slow(one.mean_s, peers_s):
                        mean_ms, peers_ms = one.mean_s * 1e3, peers_s * 1e3
                        self._eject(one, f"answers in {mean_ms:.0f} ms, its peers in {peers_ms:.0f}", now)
                if one.times and now - one.until >= self.settings.longest_s:
                    one.times = 0
            one.requests *= keep
            one.failures *= keep
        for one in self._replicas.values():
            one.fresh = 0

    def _peers_share(self, one: _Replica) -> float:
        """Of the others' recent requests those that failed. One whose last request failed counts as failing altogether:
        when all begin to fail at once, the counts still speak of before."""
        others = [peer for peer in self._replicas.values() if peer is not one]
        failures = sum(peer.requests if peer.in_row else peer.failures for peer in others)
        return failures / max(sum(peer.requests for peer in others), 1.0)

    def _peers_s(self, one: _Replica) -> float | None:
        """The median of the others' mean response times, of those that are well and have enough of them, recent ones
        too: what somebody took before it fell silent says nothing about now."""
        least = self.settings.least_answers
        means = [
            peer.mean_s
            for peer in self._replicas.values()
            if peer is not one and peer.health is _WELL and peer.answers >= least and peer.fresh >= _FRESH
        ]
        return median(means) if means else None

    def _slow(self, seconds: float, peers_s: float) -> bool:
        return seconds > self.settings.slow_times * peers_s and seconds - peers_s > self.settings.slow_by_s

    def _eject(self, one: _Replica, reason: str, now: float) -> None:
        out = sum(peer.health is not _WELL for peer in self._replicas.values() if peer is not one)
        if out + 1 > len(self._replicas) // 2:
            return
        settings = self.settings
        for_s = min(settings.first_s * 2.0 ** min(one.times, 30), settings.longest_s)
        one.times += 1
        one.health = Health.EJECTED
        one.until = now + for_s
        one.clear()
        self.quiet = False
        self._changes.append(Change(one.name, Health.EJECTED, reason, for_s))

    def _settle(self) -> None:
        self.quiet = all(one.health is _WELL for one in self._replicas.values())
