"""What brings objects to life: small stand-ins for kube-controller-manager, over `Api`, without HTTP."""

import asyncio

from tests.kube.controllers.collector import GarbageCollector, Namespaces


class Controllers:
    """All of them, in one event loop."""

    def __init__(self, api):
        self._controllers = [GarbageCollector(api), Namespaces(api)]
        self._tasks = []

    def start(self):
        self._tasks = [asyncio.ensure_future(one.run()) for one in self._controllers]

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
