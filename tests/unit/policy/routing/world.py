"""Gateways and replicas in virtual time: Poisson requests, batching replicas that report their load, timed faults.

A replica computes batches in t(b) = a + c·b, first come first served, and says its load on each answer. A gateway does
what a live one does with the objects of `policy.routing`: pick, send, report, overdue, once more within the retry
budget, probe. A message takes `transit_s` each way. Nothing sleeps: events stand in a heap by their time.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import Fleet, Overdue, Reach, ReplicaLoad, RetryBudget, TwoChoices

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

    def ping(self, answer):
        """Asked for a sign of life."""
        if self.frozen:
            self._missed.append(lambda: self.ping(answer))
        else:
            answer()

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

    def pick(self, members):
        return members[self._choose.pick([member.load.outstanding for member in members])]


class Member:
    """A replica as one gateway sees it."""

    limit = None

    def __init__(self, replica):
        self.replica, self.name = replica, replica.name
        self.load, self.reach, self.overdue = ReplicaLoad(), Reach(), Overdue()


class Gateway:
    """`guard`: with outlier detection and overdue requests."""

    TICK_S = 0.02

    def __init__(self, world, replicas, *, choose=None, guard=True, transit_s=0.0002):
        self.world, self.replicas, self.transit_s = world, replicas, transit_s
        self.choose, self.guard = choose, guard
        self.fleet = Fleet(world.random.random)
        self.fleet.keep([Member(replica) for replica in replicas])
        self.retries = RetryBudget()
        self.jobs, self.changes, self.resent, self.probes = [], [], 0, []
        if guard:
            self._turn()

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

    def send(self, job, member=None):
        now = self.world.now
        if member is None:
            member = self.fleet.pick(now) if self.choose is None else self.choose.pick(self.fleet.ready)
        expected_s = member.load.expected_s(now)
        copy = Copy(self, job, member)
        job.sent_to.append((member.name, now))
        member.load.sent(now)
        if self.guard:
            member.overdue.sent(copy, expected_s, now, job.deadline)
        self.world.at(now + self.transit_s, lambda: member.replica.receive(job, copy.answered))
        self.world.at(job.deadline, copy.expire)

    def other(self, job):
        """For a second copy."""
        sent_to = job.sent_to[0][0]
        than = next(member for member in self.fleet.ready if member.name == sent_to)
        return self.fleet.other(than, self.world.now)

    def hear(self, copy, outcome, report):
        """A replica's answer arrives, or (None) a copy's deadline passes without one."""
        now, member, job = self.world.now, copy.member, copy.job
        load, took_s = member.load, now - copy.sent
        if report is not None:
            load.report(*report, now)
        load.ended(now, took_s if outcome else None)
        if self.guard:
            member.overdue.ended(copy, now, answered=outcome is not None)
            if outcome and self.fleet.outliers.observe(member.name, outcome, took_s, now):
                self.changes += [(now, change) for change in self.fleet.outliers.changes()]
        if job.ended is None:
            job.ended, job.outcome = now, outcome or Outcome.EXPIRED

    def _turn(self):
        now = self.world.now
        self.world.at(now + self.TICK_S, self._turn)
        for copy in self.fleet.late(now):
            job = copy.job
            if len(job.sent_to) == 1 and job.ended is None:
                other = self.other(job)
                if other is not None and self.retries.try_spend(now):
                    self.resent += 1
                    self.send(job, other)
        for member in self.fleet.to_probe(now):
            self.probes.append((member.name, now))
            self.world.at(now + self.transit_s, lambda member=member: self._ask(member))

    def _ask(self, member):
        member.replica.ping(lambda: self.fleet.alive(member, self.world.now))


class Copy:
    """A request at one replica. It stays out when another copy has won, so that a replica that goes on clears its name
    with the answer."""

    def __init__(self, gateway, job, member):
        self.gateway, self.job, self.member = gateway, job, member
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
