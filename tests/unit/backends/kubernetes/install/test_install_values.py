"""Values: what is wrong is told with its place and the nearest name."""

import pytest

from plimsoll.backends.kubernetes.install.values import Values, values_of
from plimsoll.core.errors import PlimsollError


def test_an_empty_file_is_a_whole_installation():
    assert values_of("") == Values()
    assert values_of("# nothing\n") == Values()


def test_set_wins_over_the_file_and_keeps_what_stands_beside_it():
    text = "gateway: {replicas: 3, service: {type: NodePort}}"
    values = values_of(text, sets=["gateway.replicas=4", "balloons=[{name: a, resources: {}}]"])
    assert (values.gateway.replicas, values.gateway.service.type) == (4, "NodePort")
    assert [one.name for one in values.balloons] == ["a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gatway: {}", "values.yaml:1  gatway: unknown key; did you mean gateway?"),
        ("gateway:\n  replica: 3", "values.yaml:2  gateway.replica: unknown key; did you mean replicas?"),
        (
            "gateway: {preStopSeconds: 90}",
            "gateway.graceSeconds: 75 is not above preStopSeconds; expected more than 90",
        ),
        ("gateway: {autoscaling: {minReplicas: 20}}", "maxReplicas: 10 is below minReplicas; expected 20 or more"),
        ("image: {tag: 'a b'}", "image.tag: 'a b' doesn't fit"),
        ("namespace: Bad_Name", "namespace: "),
        ("a: 1\n---\nb: 2", "a values file holds one document"),
        ("gateway: [", "not valid YAML"),
    ],
)
def test_what_is_wrong(text, told):
    with pytest.raises(PlimsollError) as caught:
        values_of(text, file="values.yaml")
    assert told in str(caught.value).replace('"', "'")


@pytest.mark.parametrize("one", ["gateway.replicas", "=3", "gateway..replicas=3"])
def test_a_set_that_sets_nothing(one):
    with pytest.raises(PlimsollError, match=r"expected key\.of\.value=something"):
        values_of(sets=[one])
