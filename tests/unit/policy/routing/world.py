"""Gateways and replicas in virtual time: Poisson requests, batching replicas that report their load, timed faults.

A replica computes batches in t(b) = a + c·b, first come first served, and says its load on each answer. A gateway does
what a live one should with the objects of `policy.routing`: pick, send, report, overdue, once more within the retry
budget. A message takes `transit_s` each way. Nothing sleeps: events stand in a heap by their time.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import LeastWait, Outliers, Overdue, ReplicaLoad, RetryBudget, TwoChoices

A_S, C_S, MOST = 0.004, 0.0015, 26
ITEM_S = C_S + A_S / MOST
CAPACITY = 1 / ITEM_S


class World:
    def __init__(self, seed):
        self.seed, self.now = seed, 0.0
        self.random = Random(seed)
        self._events, self._sequence = [], count()

    def at(self, when, action):
        heappush(self._events, (when, next(self._sequence), action))

    def run(self, until):
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heappop(self._events)
            action()


@dataclass(eq=False)
class Job:
    started: float
    deadline: float
    ended: float | None = None
    outcome: Outcome | None = None
    sent_to: list = field(default_factory=list)  # (replica's name, when)

    @property
    def latency_s(self):
        return (self.ended if self.ended is not None else self.deadline) - self.started


class Replica:
    """`slow`: times the usual t(b). `fails`: answers model_error at once. `renew_s`: how old a report may be; None:
    made for each answer. `stall`: share of batches that take `stall_s` more. `frozen`: stops at once, keeps what it
    has, and answers when it goes on."""

    def __init__(self, world, name, *, slow=1.0, fails=False, reports=True, renew_s=None, stall=0.0, stall_s=0.0):
        self.world, self.name = world, name
        self.slow, self.fails, self.reports, self.renew_s = slow, fails, reports, renew_s
        self.stall, self.stall_s = stall, stall_s
        self.queue, self.running = deque(), []
        self.started = self.takes = 0.0
        self.frozen = False
        self._missed = []
        self._report, self._reported = (0.0, ITEM_S), -1e9

    def freeze(self, frozen):
        self.frozen = frozen
        if not frozen:
            missed, self._missed = self._missed, []
            for action in missed:
                action()

    def receive(self, job, answer):
        if self.frozen:
            self._missed.append(lambda: self.receive(job, answer))
        elif self.fails:
            answer(Outcome.MODEL_ERROR, self.report())
        else:
            self.queue.append((job, answer))
            self._begin()

    def report(self):
        now = self.world.now
        if not self.reports:
            return None
        if self.renew_s is None or now - self._reported >= self.renew_s:
            rest_s = max(self.takes - (now - self.started), 0.0) if self.running else 0.0
            waiting = len(self.queue)
            queued_s = (A_S * -(-waiting // MOST) + C_S * waiting) * self.slow
            self._report, self._reported = (rest_s + queued_s, ITEM_S * self.slow), now
        return self._report

    def _begin(self):
        if self.running or not self.queue:
            return
        self.running = [self.queue.popleft() for _ in range(min(len(self.queue), MOST))]
        noise = max(0.5, self.world.random.gauss(1.0, 0.03))
        self.started, self.takes = self.world.now, (A_S + C_S * len(self.running)) * self.slow * noise
        stalled_s = self.stall_s if self.stall and self.world.random.random() < self.stall else 0.0
        self.world.at(self.world.now + self.takes + stalled_s, self._done)

    def _done(self):
        if self.frozen:
            self._missed.append(self._done)
            return
        batch, self.running = self.running, []
        self._begin()  # before the answers go: what they report is what a request would find
        for _, answer in batch:
            answer(Outcome.OK, self.report())


class ByCount:
    """The host before `LeastWait`: the fewer outstanding of two."""

    def __init__(self, random):
        self._choose = TwoChoices(random.randrange)

    def pick(self, loads, now):
        return self._choose.pick([load.outstanding for load in loads])


class Gateway:
    """`guard`: with outlier detection and overdue requests."""

    def __init__(self, world, replicas, *, choose=None, guard=True, transit_s=0.0002):
        self.world, self.replicas, self.transit_s = world, replicas, transit_s
        self.choose = choose or LeastWait(world.random.random)
        self.loads = {replica.name: ReplicaLoad() for replica in replicas}
        self.overdue = {replica.name: Overdue() for replica in replicas} if guard else {}
        self.outliers = Outliers()
        self.outliers.keep(self.loads if guard else ())
        self.retries = RetryBudget()
        self.jobs, self.changes, self.resent = [], [], 0
        self.watching = set()

    def offer(self, rate, until, *, timeout_s=1.0):
        def arrive():
            job = Job(self.world.now, self.world.now + timeout_s)
            self.jobs.append(job)
            self.retries.record_request(self.world.now)
            self.send(job)
            schedule()

        def schedule():
            when = self.world.now + self.world.random.expovariate(rate)
            if when < until:
                self.world.at(when, arrive)

        self.world.at(self.world.now, schedule)

    def candidates(self, job):
        now = self.world.now
        others = [replica for replica in self.replicas if replica.name not in {name for name, _ in job.sent_to}]
        others = others or self.replicas
        alive = [each for each in others if not (self.overdue and self.overdue[each.name].suspect(now))]
        loads, usable = self.loads, self.outliers.usable
        return [each for each in alive if usable(each.name, now, loads[each.name].outstanding)] or alive or others

    def send(self, job):
        now = self.world.now
        candidates = self.candidates(job)
        replica = candidates[self.choose.pick([self.loads[each.name] for each in candidates], now)]
        load, overdue = self.loads[replica.name], self.overdue.get(replica.name)
        expected_s = load.expected_s(now)
        copy = Copy(self, job, replica)
        job.sent_to.append((replica.name, now))
        load.sent(now)
        if overdue is not None:
            overdue.sent(copy, expected_s, now, job.deadline)
            self._watch(overdue)
        self.world.at(now + self.transit_s, lambda: replica.receive(job, copy.answered))
        self.world.at(job.deadline, copy.expire)

    def hear(self, copy, outcome, report):
        """A replica's answer arrives, or (None) a copy's deadline passes without one."""
        now, name, job = self.world.now, copy.replica.name, copy.job
        load, took_s = self.loads[name], now - copy.sent
        if report is not None:
            load.report(*report, now)
        load.ended(now, took_s if outcome else None)
        if self.overdue:
            self.overdue[name].ended(copy, now, answered=outcome is not None)
        if outcome and self.outliers.observe(name, outcome, took_s, now):
            self.changes += [(now, change) for change in self.outliers.changes()]
        if job.ended is None:
            job.ended, job.outcome = now, outcome or Outcome.EXPIRED

    def _watch(self, overdue):
        """One timer a replica, set again for the next that is due."""
        if id(overdue) not in self.watching and overdue.next_due() < inf:
            self.watching.add(id(overdue))
            self.world.at(overdue.next_due(), lambda: self._look(overdue))

    def _look(self, overdue):
        self.watching.discard(id(overdue))
        late = overdue.overdue(self.world.now)
        self._watch(overdue)
        for copy in late:
            job = copy.job
            if len(job.sent_to) == 1 and job.ended is None and self.retries.try_spend(self.world.now):
                self.resent += 1
                self.send(job)


class Copy:
    """A request at one replica. It stays out when another copy has won, so that a replica that goes on clears its name
    with the answer."""

    def __init__(self, gateway, job, replica):
        self.gateway, self.job, self.replica = gateway, job, replica
        self.sent, self.open = gateway.world.now, True

    def answered(self, outcome, report):
        world = self.gateway.world
        world.at(world.now + self.gateway.transit_s, lambda: self._end(outcome, report))

    def expire(self):
        self._end(None, None)

    def _end(self, outcome, report):
        if self.open:
            self.open = False
            self.gateway.hear(self, outcome, report)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def latency(gateways, q, *, since=0.0, until=1e9):
    return quantile([job.latency_s for g in gateways for job in g.jobs if since <= job.started < until], q)


def share(gateway, name, *, since=0.0):
    """Of the requests sent, copies too, the part that went to `name`."""
    sent = [where for job in gateway.jobs for where, when in job.sent_to if when >= since]
    return sent.count(name) / len(sent)
