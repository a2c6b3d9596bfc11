"""The services that are there, for who checks a new one against them: each is understood when first looked into, and
the latest few hundred stay so. A thousand at once would be 20 MB, and a second of parsing.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast, overload

from plimsoll.backends.kubernetes.operator.seen import ServiceKey, ServiceObject
from plimsoll.core.errors import SpecErrors
from plimsoll.spec import ModelService

_KEPT = 256


class Neighbours(Sequence[ModelService]):
    """Of the cache's own mapping: always as it is now. Those that can't be understood are left out."""

    def __init__(self, services: Mapping[ServiceKey, ServiceObject]) -> None:
        self._services = services
        self._parsed = lru_cache(_KEPT)(self._parse)

    def __len__(self) -> int:
        return len(self._services)

    def __iter__(self) -> Iterator[ModelService]:
        for key in list(self._services):
            yield cast(ModelService, _Neighbour(self, key))

    @overload
    def __getitem__(self, index: int) -> ModelService: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ModelService]: ...
    def __getitem__(self, index: int | slice) -> ModelService | Sequence[ModelService]:
        return list(self)[index]

    def parsed(self, key: ServiceKey) -> ModelService:
        service = self._services.get(key)
        return self._parsed(key, 0 if service is None else service.generation, "" if service is None else service.uid)

    def _parse(self, key: ServiceKey, generation: int, uid: str) -> ModelService:
        del generation, uid  # what is kept is of them
        service = self._services.get(key)
        try:
            if service is not None:
                return ModelService.parse(service.body)
        except SpecErrors:
            pass
        # One without routes and fallbacks clashes with nobody.
        meta = {"name": key.name, "namespace": key.namespace}
        bare = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": meta}
        return ModelService.parse(bare | {"spec": {"model": {"path": "unknown.py"}}})


class _Neighbour:
    """Whose name and namespace are known without looking into it."""

    __slots__ = ("_all", "_key")

    def __init__(self, everybody: Neighbours, key: ServiceKey) -> None:
        self._all, self._key = everybody, key

    @property
    def name(self) -> str:
        return self._key.name

    @property
    def namespace(self) -> str:
        return self._key.namespace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all.parsed(self._key), name)
