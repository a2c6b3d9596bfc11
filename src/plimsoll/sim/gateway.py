"""One service's front door in virtual time: route, send, hear answers, hold, try again. The policies are the live ones.

As `gateway.forwarding` and `gateway.tries` do. A request that nothing befalls is a `Request` and nothing more; one that
is held, lost or silent gets a `Flight`, which knows where it was and since when.

What is left out, because nothing of it changes a decision here: messages take no time in the order of events (their
time is added to latencies), and a request that expires while its replica computes for others is told when that batch
ends.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from plimsoll.core.outcome import Outcome
from plimsoll.core.request import Items, Request
from plimsoll.policy.admission import HoldQueue, deadline_after, hold_until
from plimsoll.policy.routing import Fleet, GiveUp, Overloaded, RetryBudget, after_loss
from plimsoll.sim.measure import Measure
from plimsoll.sim.replica import Replica
from plimsoll.sim.scenario import Service

_HELD_MOST = 1024  # as in gateway.settings
_GRACE_S = 0.25  # as there: we wait so much longer than the replica was told
TURN_S = 0.02  # as in gateway.clockwork
_NOTHING = Items([])
_OK, _SHED, _EXPIRED, _NO_REPLICA = Outcome.OK, Outcome.SHED, Outcome.EXPIRED, Outcome.NO_REPLICA


class Flight:
    """A request that something befell. `out`: the copies of it that replicas have, and whose each is."""

    __slots__ = ("alone", "arrived", "deadline", "ended", "held", "lost_from", "out", "seconded", "sent")

    def __init__(self, arrived: float, deadline: float) -> None:
        self.arrived, self.deadline = arrived, deadline
        self.out: dict[Request, Replica] = {}
        self.sent = 0
        self.alone = self.ended = self.held = self.seconded = False
        self.lost_from: Replica | None = None


class Gateway:
    """`watched`: replicas may fall silent, so each request is a Flight and overdue ones are looked for. `inside`:
    requests that came and have not ended. `refused_at_s`: the sum of refusals' times at the door, since `base`."""

    def __init__(
        self,
        service: Service,
        measure: Measure,
        random: Callable[[], float],
        at: Callable[[float, Callable[[float], None]], None],
        *,
        watched: bool,
    ) -> None:
        bounds = service.bounds
        self.service, self.measure, self.at = service, measure, at
        self.fleet: Fleet[Replica] = Fleet(random, bounds.p99_s)
        self.held: HoldQueue[Any] = HoldQueue(_HELD_MOST, 2**62)
        self.retries = RetryBudget()
        self.watched = watched
        self.outside = 0  # of requests that came: those that have ended
        self.drained: Callable[[Replica, float], None] = lambda replica, now: None
        self.ended_at_s = 0.0  # the sum of the times at which requests ended, less `base`
        self.base = 0.0
        self.late = 0  # refused since the last look
        self._timeout_s = bounds.timeout_s
        self._target_s = bounds.timeout_s if bounds.p99_s is None else min(bounds.p99_s, bounds.timeout_s)
        self._shut_until = -inf  # until then nobody gets in, whoever asks
        self._hold_due = inf
        self._measured = measure.answered.append
        self._pool: list[Request] = []  # that nobody refers to any more
        self._flights = watched  # there may be one
        self._due: deque[tuple[float, Flight]] = deque()  # when their deadlines pass, where they are watched

    # --- a request comes --------------------------------------------------------------------------------------------

    def arrive(self, now: float) -> None:
        if now < self._shut_until:
            self._refuse(_SHED, now)
            return
        deadline = now + self._timeout_s
        chosen = self.fleet.route(now, now, deadline)
        if chosen is None:
            self._hold(Flight(now, deadline), now)
        elif isinstance(chosen, Overloaded):
            # Nothing but an answer or a new replica, or so much time, can change that.
            self._shut_until = now + chosen.retry_after_s
            self._refuse(_SHED, now)
        elif self.watched:
            flight = Flight(now, deadline)
            self._due.append((flight.deadline + _GRACE_S, flight))
            self._send(flight, chosen, now)
        else:
            pool = self._pool
            if pool:
                request = pool.pop()
                request.arrived, request.target, request.deadline = now, now + self._target_s, deadline
                request.place = None
            else:
                request = Request("", now, now + self._target_s, deadline, 1, None, _NOTHING)
            chosen.load.sent(now)
            if not chosen.offer(request, now):
                self._turned_away(chosen, now)
                pool.append(request)

    def _refuse(self, outcome: Outcome, now: float) -> None:
        self.measure.ended[outcome] += 1
        self.outside += 1
        self.late += 1
        self.ended_at_s += now - self.base

    def _turned_away(self, replica: Replica, now: float) -> None:
        """Its gate refused: that is an answer, and it says its load."""
        replica.load.ended(now, 0.0)
        replica.load.report(replica.wait_s, replica.item_s, now)
        self._refuse(_SHED, now)

    # --- what replicas say ------------------------------------------------------------------------------------------

    def answered(self, replica: Replica, batch: list[Request], now: float) -> None:
        load, fleet = replica.load, self.fleet
        self._shut_until = -inf
        if len(batch) == 1 and not self._flights:  # as below
            seconds = now - batch[0].arrived
            load.ended(now, seconds)
            if len(fleet.ready) > 1 and fleet.outliers.observe(replica.name, _OK, seconds, now):
                fleet.outliers.changes()
            self._measured(seconds)
            self.outside += 1
            self.ended_at_s += now - self.base
            if replica.queue.line is not None:
                self._pool += batch
            load.report(replica.wait_s, replica.item_s, now)
            return
        plain = [request for request in batch if request.context is None] if self._flights else batch
        took = [now - request.arrived for request in plain]
        load.answered_together(took)
        if len(fleet.ready) > 1 and fleet.outliers.answered_together(replica.name, took, now):
            fleet.outliers.changes()
        self.measure.answered += took
        self.outside += len(took)
        self.ended_at_s += len(took) * (now - self.base)
        if replica.queue.line is not None:
            self._pool += plain
        if len(plain) < len(batch):
            for request in batch:
                if request.context is not None:
                    self._landed(request, replica, now)
        load.report(replica.wait_s, replica.item_s, now)

    def refused(self, replica: Replica, request: Request, outcome: Outcome, now: float) -> None:
        """From its queue: expired there, or shed for the others' sake."""
        self._shut_until = -inf
        flight: Flight | None = request.context
        if flight is None:
            replica.load.ended(now, now - request.arrived)
            self._refuse(outcome, now)
        else:
            self._over(flight, request, replica, now, answered=True)
            if not flight.ended and not flight.out:
                flight.ended = True
                self._refuse(outcome, now)
        replica.load.report(replica.wait_s, replica.item_s, now)

    def _landed(self, request: Request, replica: Replica, now: float) -> None:
        flight: Flight = request.context
        seconds = now - request.arrived
        self._over(flight, request, replica, now, answered=True)
        if len(self.fleet.ready) > 1 and self.fleet.outliers.observe(replica.name, _OK, seconds, now):
            self.fleet.outliers.changes()
        if not flight.ended:
            self.measure.answered.append(now - flight.arrived)
            self._end(flight, now)

    def _over(self, flight: Flight, request: Request, replica: Replica, now: float, *, answered: bool) -> None:
        """One copy of it is no longer out."""
        if flight.out.pop(request, None) is None:
            return  # given up before
        replica.load.ended(now, now - request.arrived if answered else None)
        if self.watched:
            replica.overdue.ended(request, now, answered=answered)

    def _end(self, flight: Flight, now: float) -> None:
        flight.ended = True
        self.outside += 1
        self.ended_at_s += now - self.base
        for request, replica in tuple(flight.out.items()):  # the answer that won makes the other copy idle
            self._over(flight, request, replica, now, answered=False)
            replica.queue.cancel(request)

    # --- flights ----------------------------------------------------------------------------------------------------

    def _send(self, flight: Flight, replica: Replica, now: float) -> None:
        self._flights = True
        target = min(now + self._target_s, flight.deadline)
        request = Request("", now, target, flight.deadline, 1, None, _NOTHING, alone=flight.alone, context=flight)
        expected_s = replica.load.expected_s(now)
        replica.load.sent(now)
        flight.out[request] = replica
        flight.sent += 1
        if self.watched:
            replica.overdue.sent(request, expected_s, now, flight.deadline)
        if not replica.offer(request, now):
            self._over(flight, request, replica, now, answered=True)
            replica.load.report(replica.wait_s, replica.item_s, now)
            if not flight.ended and not flight.out:
                flight.ended = True
                self._refuse(_SHED, now)

    def _start(self, flight: Flight, now: float) -> bool:
        replica = self.fleet.pick(now, other_than=flight.lost_from)
        if replica is None:
            return False
        self._send(flight, replica, now)
        return True

    def _hold(self, flight: Flight, now: float) -> None:
        until = hold_until(flight.arrived, flight.deadline, None, self.service.hold_s, sent=flight.sent > 0)
        if until <= now:
            flight.ended = True
            self._refuse(_NO_REPLICA, now)
        elif not self.held.push(flight, 0, until, now):
            flight.ended = True
            self._refuse(_SHED, now)
        else:
            flight.held = True
            if until < self._hold_due:
                self._hold_due = until
                self.at(until, self._expire_held)

    def _expire_held(self, now: float) -> None:
        for flight in self.held.expire(now):
            flight.ended = True
            self._refuse(_NO_REPLICA, now)
        self._hold_due = self.held.next_expiry() or inf
        if self._hold_due < inf:
            self.at(self._hold_due, self._expire_held)

    def fleet_changed(self, ready: Sequence[Replica], draining: Sequence[Replica], now: float) -> None:
        self.fleet.keep(ready, draining)
        self._shut_until = -inf
        if len(self.held) and self.fleet.reachable(now):
            for flight in self.held.release(now):
                flight.held = False
                flight.deadline = deadline_after(now, flight.deadline, None, self._timeout_s, sent=flight.sent > 0)
                if not self._start(flight, now):
                    self._hold(flight, now)

    def lost(self, replica: Replica, requests: Sequence[Request], begun: Sequence[Request], now: float) -> None:
        """`replica` died with these; of them it had `begun` to compute some. Its fleet knows it no longer."""
        replica.reach.lost(now)
        for request in requests:
            flight: Flight | None = request.context
            if flight is None:
                flight = Flight(request.arrived, request.deadline)
                flight.out[request] = replica
                flight.sent = 1
            self._over(flight, request, replica, now, answered=False)
            if flight.ended:
                continue
            if flight.out:
                flight.alone = True
                continue
            decision = after_loss(
                attempt=flight.sent,
                started_computing=request.alone and request in begun,
                time_left_s=flight.deadline - now,
                budget_ok=self.retries.try_spend(now),
                retry_allowed=True,
                other_replicas=True,  # where no other is ready, it is held until one is
            )
            if isinstance(decision, GiveUp):
                flight.ended = True
                self._refuse(decision.outcome, now)
                continue
            flight.alone, flight.lost_from = decision.alone, replica
            if not self._start(flight, now):
                self._hold(flight, now)

    # --- silence ----------------------------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Fifty times a second, where replicas may fall silent."""
        fleet = self.fleet
        for request in list(fleet.late(now)):
            flight: Flight = request.context
            if flight.ended or flight.seconded or flight.deadline <= now or len(flight.out) != 1:
                continue
            other = fleet.other(flight.out[request], now)
            if other is not None and self.retries.try_spend(now):
                flight.seconded = True
                self._send(flight, other, now)
        for replica in fleet.to_probe(now):
            if now >= replica.frozen_until:
                fleet.alive(replica, now)
        due = self._due
        while due and due[0][0] <= now:
            flight = due.popleft()[1]
            if flight.ended:
                continue
            if flight.held or flight.deadline + _GRACE_S > now:
                due.append((max(flight.deadline, now) + _GRACE_S, flight))
                continue
            for replica in flight.out.values():
                replica.reach.lost(now)
            self.measure.ended[_EXPIRED] += 1
            self.late += 1
            self._end(flight, now)
