"""What the cluster can do: its version, and which APIs are served."""

import re
from collections.abc import Collection
from dataclasses import replace

from plimsoll.backends.kubernetes.api import Api, ApiError
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.options import OLDEST_MINOR, ClusterOptions
from plimsoll.core.errors import SpecErrors
from plimsoll.spec import Platform


def written(obj: Obj) -> Obj:
    """An object of the whole platform as its file would have it."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {"name": obj["metadata"]["name"]},
        "spec": obj.get("spec") or {},
    }


async def discovered(api: Api, options: ClusterOptions) -> ClusterOptions:
    """`options` as this cluster is now. Two small calls, neither a list of objects."""
    version, groups = await api.get("/version"), await api.get("/apis")
    minor = re.match(r"\d+", str(version.get("minor") or ""))
    served = frozenset(
        str(one["groupVersion"]) for group in groups.get("groups") or () for one in group.get("versions") or ()
    )
    return replace(options, minor=int(minor[0]) if minor else OLDEST_MINOR, apis=served)


async def served_kinds(api: Api, kinds: Collection[Kind]) -> set[Kind]:
    """Those of the kinds that are served: a group's definitions come one after another, and each by itself."""
    found: set[Kind] = set()
    for api_version in sorted({one.api_version for one in kinds}):
        try:
            listed = await api.get(f"/apis/{api_version}")
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        names = {str(one["name"]) for one in listed.get("resources") or ()}
        found |= {one for one in kinds if one.api_version == api_version and one.plural in names}
    return found


def platform_of(objects: dict[str, Obj]) -> tuple[Platform | None, str, str]:
    """The one Platform (named `default` where there are several), its name, and what is wrong with it. One that can't
    be understood counts as none: services go on with what stands."""
    if not objects:
        return None, "", ""
    name = "default" if "default" in objects else min(objects)
    obj = objects[name]
    try:
        return Platform.parse(written(obj)), name, ""
    except SpecErrors as error:
        return None, name, "; ".join(str(error).splitlines())
