"""Simulations side by side, a process for each core: started, watched, and ended with us, whatever happens.

A child sends what it has done through a pipe, and at last its result. Ctrl-C, which the terminal sends to all of us, is
blocked in it from its beginning: we end the children and keep what is finished. Should we be killed, a child's next
word finds nobody at the other end of its pipe, and it ends.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic

from plimsoll.core.errors import HostError, UserError
from plimsoll.sim.result import Result
from plimsoll.sim.scenario import Scenario

_SAY_EVERY_S = 0.2
_LOOK_EVERY_S = 0.5
_ALONE_BELOW_S = 4.0  # a process takes half a second to start

Watch = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """`fast`: with the fluid model. `key`: unique in its run."""

    key: str
    scenario: Scenario
    fast: bool = False


@dataclass(slots=True)
class Done:
    """`results` by key, of those that ended. `failed`: what went wrong with others, by key."""

    results: dict[str, Result] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, other: "Done") -> None:
        self.results |= other.results
        self.failed |= other.failed
        self.interrupted = self.interrupted or other.interrupted


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], watch: Watch, *, expected_s: float = 60.0, workers: int | None = None) -> Done:
    """Until all have ended, or Ctrl-C: what had ended by then is there. `watch` is told the share that each has done,
    twice a second. `expected_s`: of one core; short work is done right here. Raises UserError for a scenario that can't
    be run."""
    workers = min(workers or cores(), len(jobs))
    done = Done()
    try:
        if workers <= 1 or expected_s < _ALONE_BELOW_S:
            _here(jobs, watch, done)
        else:
            _Pool(workers, watch, done).run(jobs)
    except KeyboardInterrupt:
        done.interrupted = True
    return done


def _here(jobs: Sequence[Job], watch: Watch, done: Done) -> None:
    shares = {job.key: 0.0 for job in jobs}
    said = monotonic()

    def told(key: str) -> Callable[[float], None]:
        def progress(share: float) -> None:
            nonlocal said
            shares[key] = share
            if monotonic() - said >= _LOOK_EVERY_S:
                said = monotonic()
                watch(shares)

        return progress

    for job in jobs:
        done.results[job.key] = _simulate(job, told(job.key))
        shares[job.key] = 1.0


class _Pool:
    """At most `workers` children at once."""

    def __init__(self, workers: int, watch: Watch, done: Done) -> None:
        self._workers, self._watch, self._done = workers, watch, done
        # spawn: a fork would copy whatever threads hold at that moment
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, tuple[Job, multiprocessing.process.BaseProcess]] = {}
        self._shares: dict[str, float] = {}

    def run(self, jobs: Sequence[Job]) -> None:
        waiting = list(reversed(jobs))
        self._shares = {job.key: 0.0 for job in jobs}
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._workers:
                    self._start(waiting.pop())
                for ready in wait(list(self._running), timeout=_LOOK_EVERY_S):
                    assert isinstance(ready, Connection)
                    self._hear(ready)
                self._watch(self._shares)
        finally:
            self._end_all()

    def _start(self, job: Job) -> None:
        ours, theirs = self._context.Pipe()
        child = self._context.Process(target=_child, args=(theirs, job), name=f"plan-{job.key}", daemon=True)
        resource_tracker.ensure_running()  # starts a process itself, and lets SIGINT through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the child inherits
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._running[ours] = job, child

    def _hear(self, pipe: Connection) -> None:
        job, child = self._running[pipe]
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            child.join()
            said = HostError(f"the process that simulated {job.key} ended with {child.exitcode}")
        if isinstance(said, float):
            self._shares[job.key] = said
            return
        del self._running[pipe]
        pipe.close()
        child.join()
        if isinstance(said, Result):
            self._done.results[job.key] = said
            self._shares[job.key] = 1.0
        elif isinstance(said, UserError):
            raise said
        else:
            self._done.failed[job.key] = str(said)

    def _end_all(self) -> None:
        for pipe, (_, child) in self._running.items():
            child.terminate()
            pipe.close()
        for _, child in self._running.values():
            child.join()
        self._running.clear()


def _child(pipe: Connection, job: Job) -> None:
    said = monotonic()

    def progress(share: float) -> None:
        nonlocal said
        if monotonic() - said >= _SAY_EVERY_S:
            said = monotonic()
            pipe.send(float(share))

    with suppress(BrokenPipeError, ConnectionResetError):  # nobody is there to tell
        try:
            pipe.send(_simulate(job, progress))
        except UserError as error:
            pipe.send(UserError(str(error)))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            pipe.send(HostError(f"{type(error).__name__}: {error}"))


def _simulate(job: Job, progress: Callable[[float], None]) -> Result:
    if job.fast:
        from plimsoll.sim.fluid import simulate_fluid

        return simulate_fluid(job.scenario, progress)
    from plimsoll.sim.world import simulate

    return simulate(job.scenario, progress)
