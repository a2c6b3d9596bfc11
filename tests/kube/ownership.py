"""Who owns which field: managedFields, server-side apply and its conflicts.

A field's place is a tuple of FieldsV1 steps: `f:NAME`, `k:{"name":"x"}` for the item of a list with keys, `v:VALUE` for
that of a set. Rules: https://kubernetes.io/docs/reference/using-api/server-side-apply/ (merge, conflicts, transfer
between managers, fields that nobody owns any more are removed).
"""

import copy
import json

from tests.kube.errors import ApiError

# Never owned: identity, and what the server writes.
_SERVERS = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
            "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName")  # fmt: skip


# Keys that have a default where an item leaves them out.
_KEY_DEFAULTS = {"protocol": "TCP"}


def _key_step(item, keys):
    found = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in keys}
    return "k:" + json.dumps(found, sort_keys=True, separators=(",", ":"))


def _value_step(value):
    return "v:" + json.dumps(value, sort_keys=True, separators=(",", ":"))


def leaves(obj, shape):
    """{place: value} of everything in `obj` that can be owned; the item of a list with keys has a place of its own,
    with None as its value."""
    found = {}
    for name, value in obj.items():
        if name == "metadata":
            for key, one in value.items():
                if key not in _SERVERS:
                    _walk(one, (name, key), ("f:metadata", f"f:{key}"), shape, found)
        elif name not in ("apiVersion", "kind"):
            _walk(value, (name,), (f"f:{name}",), shape, found)
    return found


def _walk(value, path, place, shape, found):
    if isinstance(value, dict) and value and not shape.atomic_map(path):
        for name, one in value.items():
            _walk(one, (*path, name), (*place, f"f:{name}"), shape, found)
    elif isinstance(value, list) and value and (keys := shape.list_keys(path)) is not None:
        for item in value:
            if keys and isinstance(item, dict):
                step = (*place, _key_step(item, keys))
                found[step] = None
                for name, one in item.items():
                    _walk(one, (*path, name), (*step, f"f:{name}"), shape, found)
            else:
                found[(*place, _value_step(item))] = item
    else:
        found[place] = value


# --- FieldsV1 ---------------------------------------------------------------------------------------------------------
def to_fields(places):
    tree = {}
    for place in sorted(places):
        at = tree
        for step in place:
            at = at.setdefault(step, {})
        if place[-1].startswith("k:"):
            at["."] = {}
    return tree


def from_fields(tree):
    found = set()

    def walk(at, place):
        if place and (not at or "." in at):
            found.add(place)
        for step, below in at.items():
            if step != ".":
                walk(below, (*place, step))

    walk(tree or {}, ())
    return found


class Managers:
    """The managedFields of one object, by (manager, operation, subresource)."""

    def __init__(self, obj):
        self.entries = {}
        self._times = {}
        for entry in (obj.get("metadata") or {}).get("managedFields") or ():
            key = entry["manager"], entry["operation"], entry.get("subresource", "")
            self.entries[key] = from_fields(entry.get("fieldsV1"))
            self._times[key] = entry.get("time")
        self._before = {key: set(places) for key, places in self.entries.items()}

    def owners(self, place, but=None):
        return [key for key, places in self.entries.items() if key != but and place in places]

    def write(self, obj, api_version, now):
        listed = []
        for key, places in self.entries.items():
            if not places:
                continue
            manager, operation, subresource = key
            entry = {
                "manager": manager,
                "operation": operation,
                "apiVersion": api_version,
                "time": self._times.get(key) if self._before.get(key) == places else now,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_fields(places),
            }
            listed.append(entry | ({"subresource": subresource} if subresource else {}))
        obj["metadata"]["managedFields"] = listed


def _under(place, places):
    return any(other[: len(place)] == place for other in places if len(other) > len(place))


# --- update, patch, create --------------------------------------------------------------------------------------------
def updated(before, after, manager, shape, *, subresource="", api_version, now):
    """Writes managedFields into `after`: what differs from `before` (None: new) is now `manager`'s alone."""
    old = leaves(before, shape) if before else {}
    new = leaves(after, shape)
    changed = {place for place, value in new.items() if place not in old or old[place] != value}
    gone = old.keys() - new.keys()
    managers = Managers(before or {})
    for places in managers.entries.values():
        places.difference_update(changed, gone)
    if changed:
        mine = manager, "Update", subresource
        managers.entries[mine] = managers.entries.get(mine, set()) | changed
    managers.write(after, api_version, now)


# --- apply ------------------------------------------------------------------------------------------------------------
def applied(before, config, manager, shape, *, subresource="", force=False, api_version, now):
    """What `before` (None: nothing there) becomes when `manager` applies `config`. Raises 409 on conflicts."""
    config = _without_nulls(config)
    wanted = leaves(config, shape)
    live = leaves(before, shape) if before else {}
    managers = Managers(before or {})
    mine = manager, "Apply", subresource
    taken = [
        (place, owner)
        for place, value in wanted.items()
        if place in live and live[place] != value
        for owner in managers.owners(place, mine)
    ]
    if taken and not force:
        raise _conflict(taken)
    for place, owner in taken:
        managers.entries[owner].discard(place)
    result = _merged(before, config, (), shape) if before else copy.deepcopy(config)
    # What this manager applied before and now leaves out goes, unless another owns it as well.
    others = set().union(*(places for key, places in managers.entries.items() if key != mine))
    for place in sorted(managers.entries.get(mine, set()) - wanted.keys(), key=len):
        # An empty map that was applied is a leaf; once something stands in it, it is none any more.
        if place not in others and not _under(place, others) and not _under(place, wanted):
            _remove(result, place)
    managers.entries[mine] = set(wanted)
    managers.write(result, api_version, now)
    return result


def _conflict(taken):
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner[0]}"', "field": _readable(place)}
        for place, owner in taken
    ]
    told = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    plural = "s" if len(causes) > 1 else ""
    return ApiError(409, f"Apply failed with {len(causes)} conflict{plural}: {told}", causes=causes)


def _readable(place):
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in place)


def _without_nulls(value):
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _merged(live, config, path, shape):
    if isinstance(live, dict) and isinstance(config, dict) and not (path and shape.atomic_map(path)):
        result = dict(live)
        for name, value in config.items():
            result[name] = _merged(live[name], value, (*path, name), shape) if name in live else copy.deepcopy(value)
        return result
    if isinstance(live, list) and isinstance(config, list) and (keys := shape.list_keys(path)) is not None:
        if not keys:
            return [*live, *(one for one in config if one not in live)]
        ours = {_key_step(item, keys): item for item in config}
        result = [
            _merged(item, ours.pop(step), path, shape) if (step := _key_step(item, keys)) in ours else item
            for item in live
        ]
        return result + copy.deepcopy(list(ours.values()))
    return copy.deepcopy(config)


def _remove(obj, place):
    """Takes the field out, and what it leaves empty."""
    at, way = obj, []
    for step in place[:-1]:
        way.append((at, step))
        at = _step(at, step)
        if at is None:
            return
    last = place[-1]
    if last.startswith("f:"):
        if isinstance(at, dict):
            at.pop(last[2:], None)
    elif isinstance(at, list):
        at[:] = [item for item in at if not _is_item(item, last)]
    while not at and way and way[-1][1] not in ("f:metadata", "f:spec", "f:status"):
        parent, step = way.pop()
        if not (isinstance(parent, dict) and step.startswith("f:")):
            break
        parent.pop(step[2:], None)
        at = parent


def _step(at, step):
    if step.startswith("f:"):
        return at.get(step[2:]) if isinstance(at, dict) else None
    return next((item for item in at if _is_item(item, step)), None) if isinstance(at, list) else None


def _is_item(item, step):
    wanted = json.loads(step[2:])
    if step.startswith("v:"):
        return item == wanted
    return isinstance(item, dict) and all(
        item.get(key, _KEY_DEFAULTS.get(key)) == value for key, value in wanted.items()
    )
