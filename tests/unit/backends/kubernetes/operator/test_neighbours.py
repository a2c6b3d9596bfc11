"""The services that others are checked against, understood when they are looked into."""

from tests.unit.backends.kubernetes.operator.running import service

from plimsoll.backends.kubernetes.operator.neighbours import Neighbours
from plimsoll.backends.kubernetes.operator.seen import ServiceKey, service_of


def kept(obj, generation=1):
    meta = obj["metadata"] | {"uid": obj["metadata"]["name"], "generation": generation}
    found = service_of(obj | {"metadata": meta})
    return found.key, found


def test_names_are_known_without_a_look_and_the_rest_with_one():
    services = dict([kept(service("a", routes=[{"path": "/a"}])), kept(service("b", namespace="other"))])
    neighbours = Neighbours(services)
    first, second = neighbours
    assert (first.name, first.namespace, second.namespace) == ("a", "shop", "other")
    assert neighbours._parsed.cache_info().currsize == 0
    assert [route.path for route in first.spec.routes] == ["/a"]
    assert neighbours._parsed.cache_info().currsize == 1
    key, changed = kept(service("a", routes=[{"path": "/b"}]), generation=2)
    services[key] = changed
    assert [route.path for route in neighbours[0].spec.routes] == ["/b"]


def test_one_that_can_not_be_understood_clashes_with_nobody():
    services = dict([kept(service("a", timeout="1ms"))])
    neighbours = Neighbours(services)
    (one,) = neighbours
    assert one.spec.routes == ()
    del services[ServiceKey("shop", "a")]
    assert one.spec.routes == ()
    assert len(neighbours) == 0
