"""What becomes of a request whose replica was lost before it answered.

The request itself may have killed the replica. So it is retried alone: should the next replica die too after it began
to compute that one request, there is no other suspect. Whoever was only waiting there is innocent.
"""

from dataclasses import dataclass

from plimsoll.core.outcome import Outcome

MOST_ATTEMPTS = 4  # a fleet that loses three replicas under one request has a trouble that retries don't mend


@dataclass(frozen=True, slots=True)
class Retry:
    """`alone`: it must share no batch."""

    alone: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Answer `outcome`. `quarantine`: the request is found guilty, refuse its body's digest for a while."""

    outcome: Outcome
    quarantine: bool = False


def after_loss(
    attempt: int,
    started_computing: bool,
    time_left_s: float,
    budget_ok: bool,
    retry_allowed: bool,
    other_replicas: bool | int,
    *,
    delivered: bool = True,
    failed_elsewhere: bool = False,
) -> Retry | GiveUp:
    """`attempt`: which one was lost, from 1; all after the first ran alone, if `delivered`.

    `started_computing`: the replica had signalled (interim status 102) that it began with this request.
    `delivered`: False where the connection failed before a byte was sent: nobody can have been killed by it.
    `other_replicas`: whether there is another one to go to. `budget_ok`: `RetryBudget.try_spend`. `failed_elsewhere`: a
    copy of it was answered with a failure, which is its answer then.
    """
    if attempt > 1 and started_computing:
        return GiveUp(Outcome.REPLICA_LOST, quarantine=True)
    if time_left_s <= 0:
        return GiveUp(Outcome.EXPIRED)
    if attempt >= MOST_ATTEMPTS or not retry_allowed or not budget_ok or not other_replicas or failed_elsewhere:
        return GiveUp(Outcome.REPLICA_LOST)
    return Retry(alone=delivered or attempt > 1)
