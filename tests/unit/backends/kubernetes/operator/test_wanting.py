"""What a spec is understood as."""

import json

from tests.unit.backends.kubernetes.operator.running import service

from plimsoll.backends.kubernetes.operator.wanting import first_count, resolved
from plimsoll.spec import ModelService


def parsed(**spec):
    return ModelService.parse(service(**spec))


def with_annotation(characters):
    return parsed(podTemplate={"metadata": {"annotations": {"example.com/blob": "x" * characters}}})


def test_every_default_is_filled_in_where_it_has_room():
    found = resolved(parsed())
    assert (found["scaling"]["maxReplicas"], found["model"]["format"]) == (8, "Python")
    assert found["timeout"]
    assert len(json.dumps(resolved(with_annotation(200_000)))) > 200_000
    assert resolved(with_annotation(400_000)) == {}, "conditions come first"


def test_the_first_count():
    none = {"minReplicas": 0, "maxReplicas": 8}
    assert first_count(parsed()) == 2
    assert first_count(parsed(scaling=none)) == 1, "so that a model that doesn't load is told of"
    assert first_count(parsed(scaling=none, replicas=0)) == 0
    assert first_count(parsed(replicas=5)) == 5
