"""One-by-one replacement: a new replica gets ready, then an old one goes; at most one more than wanted at a time.

Ready capacity never falls below what is wanted, or below what was ready where that was less. A new revision that
can't start leaves the last good one at full count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SURGE = 1  # replicas beyond the wanted count while replacing


class RolloutState(StrEnum):
    COMPLETE = "complete"  # the new revision has all it wants, no old replica is wanted
    PROGRESSING = "progressing"
    KEPT_OLD = "kept_old"  # the new revision failed: the last good one serves on
    FAILED = "failed"  # the new revision failed, and there is no good one


@dataclass(frozen=True, slots=True)
class RevisionState:
    """What is known of one revision. `starting` includes those waiting for a restart.

    `failed`: it never got ready and the reason is definite (its model can't be loaded), so that trying again without a
    change is idle. The caller remembers it: once nothing of the revision is wanted there is no replica to see it by.
    `good`: it was ready at some time.
    """

    revision: str
    ready: int = 0
    starting: int = 0
    failed: bool = False
    good: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """`desired`: replicas by revision; a revision that isn't in it should have none."""

    state: RolloutState
    desired: dict[str, int] = field(default_factory=dict)


def plan(wanted: int, new: RevisionState, old: Sequence[RevisionState] = ()) -> Rollout:
    """The next step. `old`: every other revision that has replicas or was good, the oldest first."""
    if wanted <= 0:
        return Rollout(RolloutState.COMPLETE, {})
    newest_first = [state for state in reversed(old) if state.revision != new.revision]
    if new.failed and not new.ready:
        return _fall_back(wanted, new, newest_first)

    ready = min(new.ready, wanted)
    missing = wanted - ready
    # Old replicas make up what is missing: ready ones first, the younger revision's before the elder's.
    kept = dict.fromkeys((state.revision for state in newest_first), 0)
    for state in newest_first:
        take = min(state.ready, missing)
        kept[state.revision] += take
        missing -= take
    for state in newest_first:
        take = min(state.starting, missing) if state.good or state.ready else 0
        kept[state.revision] += take
        missing -= take
    kept = {revision: count for revision, count in kept.items() if count}
    # What the old ones can't make up starts at once; of the rest one at a time.
    desired = {new.revision: min(wanted, ready + missing + SURGE), **kept}
    complete = ready == wanted and not any(state.ready or state.starting for state in newest_first)
    return Rollout(RolloutState.COMPLETE if complete else RolloutState.PROGRESSING, desired)


def _fall_back(wanted: int, new: RevisionState, newest_first: list[RevisionState]) -> Rollout:
    good = [state for state in newest_first if (state.good or state.ready) and (state.ready or not state.failed)]
    if not good:
        # It goes on being tried, with backoff: the fault may lie outside, and there is nothing else to run.
        return Rollout(RolloutState.FAILED, {new.revision: wanted})
    last, *elder = good
    desired = {last.revision: wanted}
    # Until the last good one has its full count again, elder replicas that are ready fill in.
    missing = wanted - min(last.ready, wanted)
    for state in elder:
        take = min(state.ready, missing)
        missing -= take
        if take:
            desired[state.revision] = take
    return Rollout(RolloutState.KEPT_OLD, desired)
