"""Small rules of changes: what is over, what is the same, where a scale stands."""

from tests.kube import ownership
from tests.kube.errors import ApiError

GRACE_S = 30


def exists(kind, name):
    return ApiError(409, f'{kind.qualified} "{name}" already exists', "AlreadyExists", name=name, group=kind.group,
                    kind=kind.plural)  # fmt: skip


def unknown(gone):
    told = ", ".join(f'unknown field "{path}"' for path in gone)
    return ApiError(400, f"strict decoding error: {told}")


def grace(kind, obj, wanted):
    """Pods that a node runs get time; the node removes them with a grace period of 0."""
    if kind.kind != "Pod" or not obj.get("spec", {}).get("nodeName"):
        return 0
    if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return obj["spec"].get("terminationGracePeriodSeconds", GRACE_S) if wanted is None else wanted


def is_over(kind, obj):
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if kind.kind == "Namespace" and kind.group == "":
        return not obj.get("spec", {}).get("finalizers")
    return meta.get("deletionGracePeriodSeconds", 0) == 0


def spec(kind, obj):
    left_out = {"metadata", "apiVersion", "kind"} | ({"status"} if "status" in kind.subresources else set())
    return {key: value for key, value in obj.items() if key not in left_out}


def same(before, after):
    """Whether nothing changed but the times in managedFields."""
    one, other = before["metadata"], after["metadata"]
    if {key: value for key, value in before.items() if key != "metadata"} != {
        key: value for key, value in after.items() if key != "metadata"
    }:
        return False
    ignored = ("resourceVersion", "managedFields")
    if {key: value for key, value in one.items() if key not in ignored} != {
        key: value for key, value in other.items() if key not in ignored
    }:
        return False
    owned = [ownership.Managers(obj).entries for obj in (before, after)]
    return owned[0] == owned[1]


def scale_paths(kind):
    if kind.crd is None:
        selector = ".spec.selector"
        return ".spec.replicas", ".status.replicas", selector
    paths = kind.crd["subresources"]["scale"]
    return paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath")


def get(obj, path):
    for name in path.strip(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(name)
    return obj


def put(obj, path, value):
    *way, last = path.strip(".").split(".")
    for name in way:
        obj = obj.setdefault(name, {})
    obj[last] = value
