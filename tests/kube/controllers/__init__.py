"""What brings objects to life: small stand-ins for kube-controller-manager, over `Api`, without HTTP."""

import asyncio

from tests.kube.controllers.collector import GarbageCollector, Namespaces
from tests.kube.controllers.deployments import Deployments
from tests.kube.controllers.disruption import Disruption
from tests.kube.controllers.endpoints import EndpointSlices
from tests.kube.controllers.nodes import NodeLifecycle
from tests.kube.controllers.sets import DaemonSets, StatefulSets

ALL = (GarbageCollector, Namespaces, Deployments, StatefulSets, DaemonSets, EndpointSlices, Disruption, NodeLifecycle)


class Controllers:
    """All of them, in one event loop."""

    def __init__(self, api, *others):
        self._controllers = [*(make(api) for make in ALL), *others]
        self._tasks = []

    @property
    def nodes(self):
        return next(one for one in self._controllers if isinstance(one, NodeLifecycle))

    def start(self):
        self._tasks = [asyncio.ensure_future(one.run()) for one in self._controllers]

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
