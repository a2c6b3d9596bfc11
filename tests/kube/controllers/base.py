"""The loop every mini controller runs: events become keys, keys are looked at until nothing is left to do."""

import asyncio
import logging

from tests.kube.api import Stale
from tests.kube.errors import ApiError

log = logging.getLogger("tests.kube")


class Controller:
    """`stores`: the kinds it hears of, None for all. `keys(event)` says what to look at, `reconcile(key)` looks; it may
    return seconds after which to look again."""

    stores = None

    def __init__(self, api):
        self.api = api
        self._queue = asyncio.Queue()
        self._waiting = set()
        self._again = {}

    def keys(self, event):
        raise NotImplementedError

    def reconcile(self, key):
        raise NotImplementedError

    def add(self, key):
        if key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def later(self, key, delay_s):
        """Looks at it again, at the earliest of the times it was told."""
        loop = asyncio.get_running_loop()
        timer = self._again.get(key)
        if timer is not None and not timer.cancelled() and timer.when() <= loop.time() + delay_s:
            return
        if timer is not None:
            timer.cancel()
        self._again[key] = loop.call_later(delay_s, self._due, key)

    def _due(self, key):
        self._again.pop(key, None)
        self.add(key)

    async def run(self):
        events, _, end = self.api.store.queue(None, asyncio.get_running_loop())
        hearing = asyncio.ensure_future(self._hear(events))
        for store, records in list(self.api.store.objects.items()):
            if self.stores is None or store in self.stores:
                for record in list(records.values()):
                    self._told(record, store)
        try:
            while True:
                key = await self._queue.get()
                self._waiting.discard(key)
                self._look(key)
                await asyncio.sleep(0)
        finally:
            end()
            hearing.cancel()
            for timer in self._again.values():
                timer.cancel()

    def _told(self, record, store):
        from tests.kube.store import Event

        for key in self.keys(Event("ADDED", store, record, None)):
            self.add(key)

    async def _hear(self, events):
        while True:
            event = await events.get()
            if self.stores is None or event.store in self.stores:
                for key in self.keys(event):
                    self.add(key)

    def _look(self, key):
        try:
            delay_s = self.reconcile(key)
        except Stale:
            delay_s = 0.01
        except ApiError as error:
            log.info("%s: %s: %s", type(self).__name__, key, error)
            delay_s = 0.5
        except Exception:
            log.exception("%s: %s", type(self).__name__, key)
            delay_s = 1.0
        if delay_s is not None:
            self.later(key, delay_s)
