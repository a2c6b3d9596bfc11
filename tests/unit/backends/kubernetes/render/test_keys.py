"""Each key that a cluster honours does something there: without it, what is rendered is another."""

import copy
import json

import pytest
import yaml
from tests.unit.backends.kubernetes.render.cases import CASES
from tests.unit.backends.kubernetes.render.keys import ANOTHER, DEFAULTS, ELSEWHERE, KEYS

from plimsoll.core.errors import UserError


def parents(value, path):
    """Every mapping in which the last key of a path stands."""
    if isinstance(value, list):
        for one in value:
            yield from parents(one, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            yield value
        else:
            yield from parents(value[path[0]], path[1:])


def listed(value):
    return value if isinstance(value, list) else [value]


def changed(text, path, another, said):
    """The documents without a key (None), or with another value where it stands first. Of those that say `said`, alone
    or in a list, if that is given."""
    documents = copy.deepcopy(list(yaml.safe_load_all(text)))
    found = [one for one in parents(documents, path) if said is None or said in listed(one[path[-1]])]
    assert found, f"{'.'.join(path)} is not in the case"
    if callable(another):
        another(found[0])
    elif another is not None:
        found[0][path[-1]] = another
    else:
        for one in found:
            del one[path[-1]]
    return "---\n".join(json.dumps(one) + "\n" for one in documents)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_changes_what_is_rendered(key):
    case = CASES[KEYS[key]]
    name, _, said = key.partition("=")
    another = ANOTHER.get(key, ANOTHER.get(name))
    before = case.rendered()
    text = changed(case.text, name.split("."), another, said or None)
    if name in ANOTHER and another is None:
        with pytest.raises(UserError):
            case.rendered(text)
    else:
        assert case.rendered(text).objects != before.objects


def test_a_default_says_nothing_new():
    for key in DEFAULTS:
        name, _, said = key.partition("=")
        *above, last = name.split(".")[1:]
        platform = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"}}
        spec = place = {}
        for part in above:
            place = place.setdefault(part, {})
        place[last] = said
        case = CASES["plain"]
        with_it = f"{json.dumps(platform | {'spec': spec})}\n---\n{case.text}"
        without = f"{json.dumps(platform | {'spec': {}})}\n---\n{case.text}"
        assert case.rendered(with_it).objects == case.rendered(without).objects, key


def test_every_key_is_in_one_table():
    assert not set(KEYS) & set(ELSEWHERE)
    assert {key.partition("=")[0] for key in DEFAULTS} <= {key.partition("=")[0] for key in KEYS}
