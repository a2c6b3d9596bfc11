"""JSON patch (RFC 6902), merge patch (RFC 7386), and strategic merge as far as lists with keys go."""

import copy

from tests.kube.errors import ApiError


def merge(target, patch):
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target, patch, shape, path=()):
    if isinstance(patch, list):
        keys = shape.list_keys(path) if path else None
        if not isinstance(target, list) or keys is None:
            return copy.deepcopy([item for item in patch if not _directive(item)])
        if not keys:
            return [*target, *(item for item in patch if item not in target)]
        return _by_keys(target, patch, keys[:1], shape, path)
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            if key.startswith("$deleteFromPrimitiveList/"):
                name = key.split("/", 1)[1]
                result[name] = [one for one in result.get(name) or [] if one not in value]
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, shape, (*path, key))
    return result


def _directive(item):
    return isinstance(item, dict) and "$patch" in item


def _by_keys(target, patch, keys, shape, path):
    if any(_directive(item) and item["$patch"] == "replace" for item in patch):
        return copy.deepcopy([item for item in patch if not _directive(item)])
    result = list(target)
    for item in patch:
        same = [place for place, one in enumerate(result) if all(one.get(key) == item.get(key) for key in keys)]
        if item.get("$patch") == "delete":
            result = [one for place, one in enumerate(result) if place not in same]
        elif same:
            result[same[0]] = strategic(result[same[0]], item, shape, path)
        else:
            result.append(copy.deepcopy(item))
    return result


def json_patch(target, operations):
    result = copy.deepcopy(target)
    for operation in operations:
        result = _operate(result, operation)
    return result


def _operate(doc, operation):
    op, steps = operation["op"], _steps(operation["path"])
    if op == "test":
        if _at(doc, steps) != operation.get("value"):
            raise ApiError(422, f"the server rejected our request: test failed at {operation['path']}")
        return doc
    if op in ("move", "copy"):
        value = copy.deepcopy(_at(doc, _steps(operation["from"])))
        if op == "move":
            doc = _operate(doc, {"op": "remove", "path": operation["from"]})
        return _operate(doc, {"op": "add", "path": operation["path"], "value": value})
    if not steps:
        return operation["value"]
    parent, last = _at(doc, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        place = len(parent) if last == "-" else int(last)
        if op == "add":
            parent.insert(place, operation["value"])
        elif op == "replace":
            parent[place] = operation["value"]
        else:
            del parent[place]
        return doc
    if op != "add" and (not isinstance(parent, dict) or last not in parent):
        raise ApiError(422, f"the server rejected our request due to an error in our request: {operation['path']}")
    if op == "remove":
        del parent[last]
    else:
        parent[last] = operation["value"]
    return doc


def _steps(path):
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _at(doc, steps):
    try:
        for step in steps:
            doc = doc[int(step)] if isinstance(doc, list) else doc[step]
    except (KeyError, IndexError, ValueError, TypeError):
        raise ApiError(422, f"the server rejected our request: no {'/'.join(steps)}") from None
    return doc
