"""What the queue is told once, and what it answers each time it is asked."""

from dataclasses import dataclass

from plimsoll.core.request import Request
from plimsoll.policy.batching.lanes import Bucket


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """`max_size`: items in a batch. `linger_s`: how long a free model waits for more (0: never)."""

    max_size: int = 64
    linger_s: float = 0.0
    overhead_s: float = 0.0005  # from the model's answer to the last byte sent, added to predicted finishes
    batch_cost_s: float = 0.0001  # what a batch costs beside the model: the hop to its thread and back, 77-121 us
    margin_sd: float = 2.0  # deviations of the service time added to predicted finishes
    ahead_s: float = 0.003  # the next batch is formed while one that takes less than this runs
    probe_s: float = 1.0  # nothing has run for so long: one is computed though it is predicted to be late

    def __post_init__(self) -> None:
        if self.max_size < 1 or self.linger_s < 0:
            raise ValueError(f"max_size must be at least 1 and linger_s at least 0, not {self}")


class Poll:
    """What to do now. `batch`: run these together (empty: nothing to run). `expired`: their deadline passed. `shed`:
    they can't make it, or only by keeping everybody else's batch small. `wake_at`: poll then though nothing comes."""

    __slots__ = ("batch", "expired", "shed", "wake_at")

    def __init__(
        self, batch: list[Request], expired: list[Request], shed: list[Request], wake_at: float | None
    ) -> None:
        self.batch = batch
        self.expired = expired
        self.shed = shed
        self.wake_at = wake_at

    def __repr__(self) -> str:
        return (
            f"Poll(batch={[r.id for r in self.batch]}, expired={[r.id for r in self.expired]},"
            f" shed={[r.id for r in self.shed]}, wake_at={self.wake_at})"
        )


class Choice:
    """What to fill a batch with: from `bucket` (None: the line) at most `most` items, not fewer than `need` for a late
    one's sake. `head`: the first of them, of `items` that could share it. `start_by`: the latest start that keeps the
    head's aim."""

    __slots__ = ("bucket", "head", "items", "most", "need", "start_by")

    def __init__(self, bucket: Bucket | None, head: Request, items: int, most: int, need: int, start_by: float) -> None:
        self.bucket = bucket
        self.head = head
        self.items = items
        self.most = most
        self.need = need
        self.start_by = start_by
