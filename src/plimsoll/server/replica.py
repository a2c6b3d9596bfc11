"""One replica, put together: HTTP server, intake, engine, model, and what it reports of itself.

replica = Replica(settings, spawner, report)
await replica.start()      # listens at once (alive, not ready), loads, warms up, then reports "ready"
await replica.drain()      # SIGTERM: serves on for a moment, then finishes what it has
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import monotonic, perf_counter, thread_time
from typing import Any

import msgspec
import psutil

from plimsoll.core.errors import HostError, ModelLoadError, ReplicaLost
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.models import open_model
from plimsoll.policy.admission import AdmissionGate, GateSettings
from plimsoll.policy.batching import BatchQueue, BatchSettings
from plimsoll.ports.spawner import Spawner
from plimsoll.server.bulk import BulkCodec
from plimsoll.server.engine import Engine
from plimsoll.server.handling import Handling
from plimsoll.server.intake import Intake
from plimsoll.server.pages import Pages
from plimsoll.server.record import Record
from plimsoll.server.runner import Runner, ThreadRunner
from plimsoll.server.settings import ReplicaSettings
from plimsoll.server.status_port import StatusPort
from plimsoll.server.worker_process import ProcessRunner
from plimsoll.wire.http1 import HttpServer

Report = Callable[[dict[str, Any]], None]

_log = logging.getLogger(__name__)

_TICK_S = 0.02  # loop lag is sampled, expiries are answered and hangs noticed this often
_REPORT_EVERY = 50  # ticks
_STALL_S = 1.0  # no busy loop is that late: the process was stopped, or the machine slept
# libuv's timers move in whole milliseconds, so an idle loop is up to 1.2 ms late. Counted as lag, that made a service
# with a p99 budget of 5 ms refuse 8% of its requests at a seventh of its capacity.
_TIMER_STEP_S = 0.001
_LAG_KEPT = 0.8  # of the largest lag at each tick: a stall is believed for some 0.2 s
# No more of it, however long it was: who stood still for 3 s (SIGSTOP, a machine that was suspended) refused everybody
# for a third of a second more. What waited in the kernel meanwhile is read before the next tick, and sees all of it.
_LAG_KEPT_MOST_S = 0.05
_LINE_EVERY_S = 0.001  # the load line is renewed with each batch, but not more often: it costs 2 us


class Replica:
    """`report` gets the events of the status pipe. `on_end` is called when the replica must end by itself."""

    def __init__(
        self,
        settings: ReplicaSettings,
        spawner: Spawner,
        report: Report,
        *,
        on_end: Callable[[str], None],
        random: Random | None = None,
    ) -> None:
        self.settings = settings
        self._spawner = spawner
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._record = Record(settings.service, settings.revision, _TICK_S)
        self._pages = Pages(settings.service, settings.revision, self._record.render)
        self._status = None if settings.status is None else StatusPort(settings.status, self._pages, report)
        self._report = report if self._status is None else self._status.report
        self._intake = Intake(settings, self._pages, self._record, random or Random())
        self._http = HttpServer(self._intake, settings.http, clock=monotonic)
        self._queue = BatchQueue(BatchSettings())  # until the model has told its own limit
        self._learned = ServiceTimeModel()
        self._handling = Handling()
        self._runner: Runner | None = None
        self._engine: Engine | None = None
        self._bulk: BulkCodec | None = None
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._line_due = 0.0
        self._process = psutil.Process()
        self.address = ""

    async def start(self) -> None:
        """Raises HostError (the address is taken) or ModelLoadError; both were reported as "failed"."""
        settings = self.settings
        try:
            if self._status is not None:
                await self._status.start()
            self.address = await self._http.start(settings.listen)
            began = perf_counter()
            runner = self._new_runner()
            self._runner = runner
            info = await runner.start()
            self._record.loaded(perf_counter() - began)
        except ModelLoadError as error:
            place = {"file": error.file, "line": error.line} if error.file else {}
            _log.error("model did not load: %s", error.reason, extra=place | {"detail": error.detail})
            self._report(
                {
                    "event": "failed",
                    "reason": error.reason,
                    "file": error.file,
                    "line": error.line,
                    "detail": error.detail,
                }
            )
            raise
        except HostError as error:
            _log.error("replica did not start: %s", error)
            self._report({"event": "failed", "reason": str(error), "file": "", "line": 0, "detail": ""})
            raise
        for size, seconds in runner.warm_up_times:
            self._learned.observe(size, seconds)
        most = min(settings.max_batch, info.max_batch or settings.max_batch)
        self._queue = BatchQueue(BatchSettings(max_size=most, linger_s=settings.linger_s))
        self._engine = Engine(
            self._queue,
            AdmissionGate(GateSettings(max_items=settings.max_queued, max_bytes=settings.max_body_bytes)),
            runner,
            self._learned,
            finish=self._intake.finished,
            begin_alone=self._intake.begin_alone,
            on_hang=self._hung,
            predict_timeout_s=settings.predict_timeout_s,
        )
        self._engine.on_batch = self._batch_done
        self._bulk = BulkCodec(
            info, self._spawner, settings.replica, sealed=info.takes_items and settings.isolation == "Process"
        )
        self._renew_load_line(monotonic())
        self._intake.open(info, self._engine, self._bulk)
        self._record.render()  # the first time imports prometheus_client: 30 ms that no request should wait for
        self._pages.loaded(info)
        self._due = monotonic() + _TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)
        _log.info("replica ready", extra={"pid": os.getpid(), "start_s": round(perf_counter() - began, 3)})
        self._report(
            {"event": "ready", "address": self.address, "pid": os.getpid(), "model": msgspec.to_builtins(info)}
        )

    async def drain(self) -> None:
        """Answers everything that is here, takes nothing new after `drain_linger_s`, then closes."""
        settings = self.settings
        _log.info("draining", extra={"in_flight": self._intake.in_flight})
        self._report({"event": "draining"})
        self._pages.ready = False
        await asyncio.sleep(settings.drain_linger_s)
        await self._http.close(settings.drain_s)
        await self.close()
        _log.info("drained", extra={"requests": self._record.requests})

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._bulk is not None:
            self._bulk.close()
        if self._runner is not None:
            await self._runner.close()
        await self._http.close(0)
        if self._status is not None:
            await self._status.close()

    def _new_runner(self) -> Runner:
        settings = self.settings
        if settings.isolation == "Thread":
            return ThreadRunner(open_model(settings.source), max_batch=settings.max_batch)
        return ProcessRunner(
            settings.source,
            self._spawner,
            max_batch=settings.max_batch,
            bulk_items=settings.bulk_items,
            load_timeout_s=settings.load_timeout_s,
            name=settings.replica,
            cpus=settings.cpus,
            on_restart_failed=self._not_replaced,
        )

    def _hung(self, reason: str) -> None:
        self._pages.ready = False
        _log.error("replica unready, it ends: %s", reason)
        self._report({"event": "unready", "reason": reason})
        self._on_end(reason)

    def _not_replaced(self, reason: str) -> None:
        if self._engine is not None:
            self._engine.stop(ReplicaLost(reason, retry_after_s=1))
        self._hung(reason)

    def _batch_done(self, size: int, seconds: float) -> None:
        self._record.batch(size, seconds)
        now = monotonic()
        if now >= self._line_due:
            self._renew_load_line(now)

    def _tick(self) -> None:
        now = monotonic()
        lag_s = now - self._due
        self._record.lag(lag_s)
        self._due = now + _TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)
        engine = self._engine
        assert engine is not None
        if lag_s > _STALL_S:
            engine.stalled()
            lag_s = 0.0
        engine.lag_s = max(lag_s - _TIMER_STEP_S, min(engine.lag_s * _LAG_KEPT, _LAG_KEPT_MOST_S))
        engine.check()
        self._intake.check(now)
        self._ticks += 1
        self._renew_load_line(now)
        if self._ticks % _REPORT_EVERY == 0:
            self._send_load(engine, now)

    def _renew_load_line(self, now: float) -> None:
        """ORCA's native header in its text form (Envoy, `endpoint-load-metrics`): what the next hop balances on."""
        engine, queue, record = self._engine, self._queue, self._record
        assert engine is not None
        self._line_due = now + _LINE_EVERY_S
        record.depth(queue.size, self._intake.in_flight)
        self._intake.load_line = (
            b"endpoint-load-metrics: TEXT application_utilization=%.3f,"
            b"named_metrics.queued=%d,named_metrics.wait_ms=%.2f,named_metrics.item_ms=%.4f\r\n"
            % (
                record.utilization,
                queue.size,
                engine.predicted_wait_s() * 1000,
                queue.item_s(engine.learned.estimate) * 1000,
            )
        )

    def _send_load(self, engine: Engine, now: float) -> None:
        self._handling.look(thread_time(), self._record.requests)
        with suppress(psutil.Error):
            self._record.rss_bytes = self._process.memory_info().rss
        self._record.utilize(now)
        self._report(
            {
                "event": "load",
                "in_flight": self._intake.in_flight,
                "queued": len(self._queue),
                "loop_lag_p99_s": self._record.lag_p99(),
                "rss_bytes": self._record.rss_bytes,
                "requests": self._record.requests,
                "service_time": msgspec.to_builtins(self._handling.beside(self._learned.estimate)),
            }
        )
