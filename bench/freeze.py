"""One of two replicas is stopped under load (SIGSTOP): its sockets stay open, and it answers nobody.

Late is who was not accepted within the p99 budget. Allowed are as many as were in flight on it at the freeze, and none
that was sent later than three times the predicted time (the p50 before the freeze): by then it must be known.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from capacity import Subject
from open_loop import ACCEPTED, Judged, judge
from overload import warm
from stack import Stack, serving
from table import Row

_RATE = 400.0  # both replicas together could take three times as much
_REPLICAS = 2


def freeze_part(subject: Subject, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    file = work / f"{subject.name}-two.yaml"
    file.write_text(subject.file(work).read_text() + f"  scaling: {{minReplicas: {_REPLICAS}}}\n")
    late, allowed, after, lost = [], [], [], 0
    with serving("gateway", file, subject.path, work=work, replicas=_REPLICAS) as stack:
        warm(subject, stack, work)
        for turn in range(rounds):
            say(f"freeze: round {turn + 1}/{rounds}")
            run, frozen_at = _frozen(subject, stack, seconds, turn)
            known_at = frozen_at + 3 * _p50_s(run, frozen_at)
            slow = [at for at, outcome, took in run.requests if _late(outcome, took, subject.budget_ms)]
            late.append(len([at for at in slow if at > frozen_at - 1]))
            after.append(len([at for at in slow if at > known_at]))
            allowed.append(_in_flight(run, frozen_at) / _REPLICAS)
            lost += run.hung
            time.sleep(seconds)  # the replica comes back
    name = f"{subject.name}, a replica frozen"
    share = median(one / max(most, 1.0) for one, most in zip(late, allowed, strict=True))
    rounds_said = f"of {rounds} rounds"
    return [
        Row(name, "late", f"{median(late):g}", f"in flight on it {median(allowed):.1f}", share, "≤ 1.0"),
        Row(name, "late, sent after 3x predicted", f"{sum(after)}", rounds_said, float(sum(after)), "≤ 0"),
        Row(name, "hung", f"{lost}", rounds_said, float(lost), "≤ 0"),
    ]


def _frozen(subject: Subject, stack: Stack, seconds: float, seed: int) -> tuple[Judged, float]:
    """A run of three times `seconds`, and when in it (seconds from its start) the replica froze, after about one."""
    frozen: list[float] = []
    ended = threading.Event()

    def freeze() -> None:
        ended.wait(seconds + 1.0)  # the client starts in about half a second
        frozen.append(time.time())
        os.kill(stack.replicas[0], signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        run = judge(stack.url, subject.body, _RATE, 3 * seconds + 1, "--budget", f"{subject.budget_ms}ms", seed=seed)
    finally:
        ended.set()
        thread.join()
        os.kill(stack.replicas[0], signal.SIGCONT)
    return run, frozen[0] - run.told["started_at"]


def _late(outcome: str, took: float | None, budget_ms: float) -> bool:
    return outcome not in ACCEPTED or took is None or took > budget_ms


def _p50_s(run: Judged, until: float) -> float:
    return median(took for at, _, took in run.requests if took is not None and at < until) / 1000


def _in_flight(run: Judged, at_s: float) -> int:
    """Requests that should have been sent and were not answered then; without an answer at all: still in flight."""
    return sum(at <= at_s and (took is None or at + took / 1000 > at_s) for at, _, took in run.requests)
