"""What the cluster can do: its version, and which APIs are served."""

import re
from dataclasses import replace

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.objects import Obj
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
