"""A local copy of all objects of a kind, kept by list and watch; outlives restarts of the API server."""

import asyncio
import contextlib

import aiohttp
from tests.kube.errors import ApiError


class Reflector:
    """`objects`: {(namespace, name): object}. `told(type, object)` is called for every change, in the event loop."""

    def __init__(self, client, kind, *, api_version="", told=None):
        self._client, self._kind, self._api_version = client, kind, api_version
        self._told = told or (lambda sort, obj: None)
        self.objects = {}
        self.synced = asyncio.Event()

    async def run(self):
        version = None
        while True:
            try:
                if version is None:
                    version = await self._list()
                    self.synced.set()
                async for sort, obj in self._watch(version):
                    version = obj["metadata"]["resourceVersion"]
                    if sort != "BOOKMARK":
                        self._take(sort, obj)
            except ApiError as error:
                if error.code == 410:
                    version = None
                else:
                    await asyncio.sleep(0.2)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.1)

    def _watch(self, version):
        return self._client.watch(self._kind, api_version=self._api_version, resource_version=version,
                                  allowWatchBookmarks="true", timeoutSeconds=600)  # fmt: skip

    async def _list(self):
        listed = await self._client.list(self._kind, api_version=self._api_version)
        found = {_key(obj): obj for obj in listed["items"]}
        for key in self.objects.keys() - found.keys():
            self._take("DELETED", self.objects[key])
        for key, obj in found.items():
            old = self.objects.get(key)
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take("MODIFIED" if old else "ADDED", obj)
        return listed["metadata"]["resourceVersion"]

    def _take(self, sort, obj):
        if sort == "DELETED":
            self.objects.pop(_key(obj), None)
        else:
            self.objects[_key(obj)] = obj
        self._told(sort, obj)


def _key(obj):
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


async def insistent(act, tries=10_000):
    """Calls `act()` until the API server answers; what it answers, None where the object is gone."""
    for _ in range(tries):
        try:
            return await act()
        except ApiError as error:
            if error.code == 404:
                return None
            if error.code not in (409, 429, 500, 503, 504):
                raise
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        await asyncio.sleep(0.1)
    return None


async def cancelled(*tasks):
    """Ends tasks and waits for them."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
