"""What the controller remembers of one service between ticks, and the questions that its steps ask of it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from plimsoll.control.revisions import Revision
from plimsoll.core.ids import RevisionId
from plimsoll.core.snapshot import ServiceView
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase
from plimsoll.spec import ModelService

DOWN = frozenset({ReplicaPhase.FAILED, ReplicaPhase.BACKING_OFF})

# A revision that served before: one death and three failed restarts in a row, before requests are told at once.
_ENDS_BEFORE_FAILED = 4


@dataclass(slots=True)
class Replacement:
    """A revision on its way to serving. `cause`: what the user did, "model.py changed"; "" for a first start.
    `served`: its replicas were ready when it was asked for, as after undoing a change that failed."""

    revision: Revision
    started_at: float
    cause: str = ""
    replaces: tuple[int, ...] = ()  # numbers of the revisions that served when it began
    failures_before: int = 0
    served: bool = False
    ready_at: float | None = None
    drained_at: float | None = None


@dataclass(slots=True)
class ServiceState:
    """`newest`: what the user wants. `good`: the last revision that had all its replicas ready, None before the first.
    `failed`: revisions that did not start, by their one-line reason."""

    service: ModelService
    newest: Revision
    good: Revision | None = None
    replicas: int | None = None  # the manual override
    replicas_until: float | None = None  # when that ends, on the controller's clock; None: it stays
    scaled: int | None = None  # what its scaler decided; None: nothing scales it
    spares: int = 0  # replicas to keep ready beside those
    spare_ids: frozenset[str] = frozenset()  # the ready ones that are spares
    cache_epoch: int = 0  # raised by a purge
    cache_url: str = field(default="", repr=False)  # of the cache's backend: holds its password
    failed: dict[RevisionId, str] = field(default_factory=dict)
    replacement: Replacement | None = None
    revisions: dict[RevisionId, Revision] = field(default_factory=dict)
    seen: tuple[ObservedReplica, ...] = ()
    phases: dict[str, ReplicaPhase] = field(default_factory=dict)  # of the replicas at the last tick
    ends: dict[str, int] = field(default_factory=dict)  # how often in a row each replica ended, since it last was ready
    served: set[str] = field(default_factory=set)  # replicas that were ready once
    lagging_since: dict[str, float] = field(
        default_factory=dict
    )  # replicas whose loop lag is over a tenth of the budget
    desired: tuple[DesiredReplicas, ...] = ()
    view: ServiceView | None = None

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def by_hand(self) -> int | None:
        """What somebody set: by a command, or as `replicas` in the file. None: neither."""
        return self.service.spec.replicas if self.replicas is None else self.replicas

    @property
    def proven(self) -> bool:
        """Whether it is known of the newest revision that it works, or that it doesn't."""
        return self.failure is not None or (self.good is not None and self.good.id == self.newest.id)

    @property
    def wanted(self) -> int:
        if self.by_hand is not None:
            return self.by_hand
        count = self.service.min_replicas if self.scaled is None else self.scaled
        # One that scales to zero is tried once: whoever saves a broken model should hear of it now.
        return count or int(not self.proven)

    @property
    def failure(self) -> str | None:
        """Why the newest revision does not start."""
        return self.failed.get(self.newest.id)

    @property
    def target(self) -> Revision:
        """The revision to run: the newest, unless it failed and an older one is known to work."""
        return self.good if self.failure is not None and self.good is not None else self.newest

    def of(self, revision: str) -> list[ObservedReplica]:
        return [replica for replica in self.seen if replica.revision == revision]

    @property
    def serving_count(self) -> int:
        """Ready replicas that get requests."""
        return self.ready() - len(self.spare_ids)

    def ready(self, revision: str | None = None) -> int:
        """Ready replicas, of all revisions or of one, spares too."""
        return sum(replica.phase is ReplicaPhase.READY for replica in self.seen if revision in {None, replica.revision})

    @property
    def serving(self) -> Revision:
        """The revision that answers: the newest with a ready replica, else the one to run."""
        for revision in (self.newest, self.good):
            if revision is not None and self.ready(revision.id):
                return revision
        return self.target

    @property
    def serving_id(self) -> str:
        return self.serving.id

    @property
    def found(self) -> int:
        """Replicas that were there when scaling began, at least one: a service is tried once."""
        return sum(replica.phase is not ReplicaPhase.DRAINING for replica in self.seen) or 1

    def number(self, revision: str) -> int:
        found = self.revisions.get(RevisionId(revision))
        return found.number if found else 0

    def start_failure(self, revision: Revision) -> str | None:
        """The definite reason why a revision does not start, or None while it may yet.

        Each of its replicas must have ended before it ever was ready. Where one served before, it must have ended four
        times in a row: one that died under load comes back.
        """
        replicas = [replica for replica in self.of(revision.id) if replica.phase is not ReplicaPhase.DRAINING]
        proven = self.good is not None and self.good.id == revision.id
        for replica in replicas:
            enough = _ENDS_BEFORE_FAILED if proven or replica.id in self.served else 1
            if self.ends.get(replica.id, 0) < enough:
                return None
        reasons = [one_line(replica.reason) for replica in replicas]
        return next(filter(None, reasons), "ended before it was ready, without a reason") if replicas else None


def one_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def by_service(observed: tuple[ObservedReplica, ...]) -> Mapping[str, tuple[ObservedReplica, ...]]:
    found: dict[str, list[ObservedReplica]] = {}
    for replica in observed:
        found.setdefault(replica.service, []).append(replica)
    return {name: tuple(replicas) for name, replicas in found.items()}
