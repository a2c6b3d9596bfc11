"""Where the model runs: the port between the engine and a thread or a process, and the thread.

A runner runs one batch after the other and reports on the event loop. The interpreter's switch interval is set by
`app` to 0.5 ms: an echo on the loop beside a pure-Python model in a thread takes 0.8 ms at the median instead of 5.4.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter
from typing import Protocol

from plimsoll.core.errors import ModelFailed, ModelLoadError, PlimsollError, RequestError
from plimsoll.core.request import Inputs, Outputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.ports.model import Model
from plimsoll.server.failures import log_failure

Results = list[Outputs | Exception] | RequestError  # one a request, or what befell the whole batch
OnDone = Callable[[Results, float], None]  # with the seconds the model took


class Runner(Protocol):
    on_done: OnDone
    on_free: Callable[[], None]  # called when `free` becomes True again
    free: bool  # can it take a batch? False while what was lost or hung is being replaced
    takes_ahead: bool  # may it be given the next batch while one runs?

    async def start(self) -> ModelInfo:
        """Loads and warms up. Raises ModelLoadError."""
        ...

    def run(self, batch: Sequence[Inputs]) -> None:
        """`on_done` follows on the loop, for each batch in turn. Before the last one is done it is called at most once,
        and only where it `takes_ahead`."""
        ...

    def overdue(self) -> bool:
        """The batch in hand has outlived its time limit. True: the runner replaced what hung, after `on_done`.
        False: it can't be stopped, and the replica must end."""
        ...

    @property
    def warm_up_times(self) -> list[tuple[int, float]]:
        """(items, seconds) of the warm-up's calls, to seed t(b): a constant b leaves its fit degenerate."""
        ...

    async def close(self) -> None: ...


def run_batch(model: Model, batch: Sequence[Inputs]) -> Results:
    """`predict`, with everything that an author's code can do wrong turned into what the requests are told."""
    try:
        results = model.predict(batch)
    except RequestError as error:
        if isinstance(error, ModelFailed):
            log_failure(error, len(batch))
        return error
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:
        return ModelFailed(f"predict ended with {type(error).__name__}")
    except Exception as error:
        log_failure(error, len(batch))
        return ModelFailed(f"{type(error).__name__}: {error}")
    if len(results) != len(batch):
        return ModelFailed(f"the model gave {len(results)} results for {len(batch)} requests")
    return results


def warm_up(model: Model, max_batch: int, limit_s: float = 2.0) -> list[tuple[int, float]]:
    """Runs b = 1, 2, 4 … max, three times each, until `limit_s` has passed; (items, seconds) of each call but the first
    of a size. A model that takes longer than that for one call runs it once."""
    info = model.info
    largest = max_batch if info.batched else 1
    if info.max_batch is not None:
        largest = min(largest, info.max_batch)
    sizes = [info.max_batch] if info.fixed_batch and info.max_batch else [1]
    while not info.fixed_batch and sizes[-1] < largest:
        sizes.append(min(sizes[-1] * 2, largest))
    times: list[tuple[int, float]] = []
    began = perf_counter()
    for size in sizes:
        inputs = model.warm_up_inputs(size)
        if inputs is None:
            break
        for repeat in range(3):
            start = perf_counter()
            if isinstance(run_batch(model, [inputs]), RequestError):
                return times  # its own requests will tell what is wrong; a made-up input must not fail the start
            if repeat:
                times.append((size, perf_counter() - start))
            if perf_counter() - began > limit_s:
                return times or [(size, perf_counter() - start)]
    return times


class ThreadRunner:
    """The model in one worker thread of this process."""

    def __init__(self, model: Model, *, max_batch: int) -> None:
        self._model = model
        self._max_batch = max_batch
        self._inbox: SimpleQueue[Sequence[Inputs] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.warm_up_times: list[tuple[int, float]] = []
        self.free = self.takes_ahead = True
        self.on_done: OnDone = lambda results, seconds: None
        self.on_free: Callable[[], None] = lambda: None

    async def start(self) -> ModelInfo:
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[ModelInfo] = loop.create_future()
        # A daemon: a predict that hangs can't be killed, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, args=(loop, loaded), name="model", daemon=True)
        self._thread.start()
        return await loaded

    def run(self, batch: Sequence[Inputs]) -> None:
        self._inbox.put(batch)

    def overdue(self) -> bool:
        return False

    async def close(self) -> None:
        self._inbox.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop, loaded: "asyncio.Future[ModelInfo]") -> None:
        # Loaded, run and closed by one thread: sqlite handles, asyncio runners and CUDA contexts want that.
        _give_way_to_the_loop()
        model = self._model
        try:
            model.load()
            self.warm_up_times = warm_up(model, self._max_batch)
        except BaseException as error:
            loop.call_soon_threadsafe(_fail, loaded, error)
            return
        loop.call_soon_threadsafe(loaded.set_result, model.info)
        get, report, done = self._inbox.get, loop.call_soon_threadsafe, self._report
        while True:
            batch = get()
            if batch is None:
                break
            start = perf_counter()
            results = run_batch(model, batch)
            seconds = perf_counter() - start
            try:
                report(done, results, seconds)
            except RuntimeError:
                break  # the loop is closed: nobody is left to tell
            del batch, results  # an idle replica holds no request's memory
        model.close()

    def _report(self, results: Results, seconds: float) -> None:
        self.on_done(results, seconds)


def _give_way_to_the_loop() -> None:
    """Lets this thread, when it wakes, wait for the loop to sleep instead of interrupting it (Linux: sched(7),
    SCHED_BATCH).

    On one core the kernel would switch to the thread as soon as it is handed a batch, which then finds the interpreter
    lock taken and switches back: eight switches a request at one connection. `digits`: p50 230 → 208 us at one
    connection, 30,300 → 32,600 requests/s at 32.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _fail(loaded: "asyncio.Future[ModelInfo]", error: BaseException) -> None:
    if loaded.cancelled():
        return
    if isinstance(error, PlimsollError):
        loaded.set_exception(error)
    else:  # an exit from within load(), or a bug of ours: never lost
        loaded.set_exception(ModelLoadError(f"{type(error).__name__}: {error}"))
