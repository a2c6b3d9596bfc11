"""EndpointSlices as Kubernetes writes them, and the replicas that gateways make of them."""

import pytest

from plimsoll.backends.kubernetes.endpoints import ReplicaBook, Slice, read_slice, revision_of
from plimsoll.backends.kubernetes.names import SERVICE_LABEL
from plimsoll.backends.kubernetes.watching import Change, Key
from plimsoll.core.snapshot import Endpoint, EndpointState

READY, DRAINING = EndpointState.READY, EndpointState.DRAINING
HTTP = {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}


def pod(name, ip, **conditions):
    return {
        "addresses": [ip],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": name},
    }


def slice_of(*endpoints, name="mood-1", service="mood", ports=(HTTP,), kind="IPv4", **labels):
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {SERVICE_LABEL: service, "kubernetes.io/service-name": service} | labels,
        },
        "addressType": kind,
        "endpoints": list(endpoints),
        "ports": list(ports),
    }


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({"ready": True, "serving": True, "terminating": False}, READY),
        ({"ready": False, "serving": False, "terminating": False}, None),
        ({"ready": False, "serving": True, "terminating": True}, DRAINING),
        ({"ready": False, "serving": False, "terminating": True}, None),
        ({"ready": True, "serving": True, "terminating": True}, DRAINING),  # a Service that publishes what isn't ready
        ({}, READY),
        ({"ready": None}, READY),
        ({"ready": False}, None),
        ({"ready": True, "terminating": True}, DRAINING),
    ],
)
def test_conditions(conditions, state):
    found = read_slice(slice_of(pod("mood-7c9ab1f2d0-6d4b8-x2x9z", "10.2.0.7", **conditions)))
    assert found.service == "shop/mood"
    assert [one.state for one in found.endpoints] == ([] if state is None else [state])


def test_what_stands_in_an_endpoint():
    (one,) = read_slice(slice_of(pod("mood-7c9ab1f2d0-6d4b8-x2x9z", "10.2.0.7", ready=True))).endpoints
    assert one == Endpoint("mood-7c9ab1f2d0-6d4b8-x2x9z", "mood-7c9ab1f2d0", "tcp:10.2.0.7:8080", READY)
    (six,) = read_slice(slice_of(pod("mood-0", "fd00::7", ready=True), kind="IPv6")).endpoints
    assert six.address == "tcp:[fd00::7]:8080"
    (bare,) = read_slice(slice_of({"addresses": ["10.2.0.9"], "conditions": {"ready": True}})).endpoints
    assert (bare.replica, bare.revision) == ("tcp:10.2.0.9:8080", "mood")


@pytest.mark.parametrize(
    ("ports", "address"),
    [
        ([{"name": "metrics", "port": 9090}, HTTP], "tcp:10.2.0.7:8080"),
        ([{"name": "", "port": 80}], "tcp:10.2.0.7:80"),
        ([{"port": 80}], "tcp:10.2.0.7:80"),
        ([HTTP | {"appProtocol": "https"}], "tls:mood.shop.svc@10.2.0.7:8080"),
        # While TLS is being turned on, pods of both kinds serve: a slice names the ports that its pods have.
        ([HTTP, {"name": "https", "port": 8443}], "tls:mood.shop.svc@10.2.0.7:8443"),
        ([HTTP, {"name": "https", "port": None}], "tcp:10.2.0.7:8080"),
        ([{"name": "metrics", "port": 9090}], None),
        ([], None),
    ],
)
def test_ports(ports, address):
    found = read_slice(slice_of(pod("mood-0", "10.2.0.7", ready=True), ports=ports))
    assert [one.address for one in found.endpoints] == ([] if address is None else [address])


def test_slices_of_others():
    assert read_slice(slice_of(kind="FQDN")) is None
    assert read_slice(slice_of(**{SERVICE_LABEL: ""})) is None
    assert read_slice(slice_of(**{"kubernetes.io/service-name": "mood-pods"})) is None
    assert read_slice({"metadata": {"name": "x", "namespace": "shop"}, "addressType": "IPv4"}) is None
    empty = slice_of() | {"endpoints": None, "ports": None}
    assert read_slice(empty) == Slice("shop/mood", ())


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("mood-7c9ab1f2d0-6d4b8f7c9-x2x9z", "mood-7c9ab1f2d0"),
        ("a-b-c-7c9ab1f2d0-6d4b8f7c9-x2x9z", "a-b-c-7c9ab1f2d0"),
        ("mood-7c9ab1f2d0-0", "mood-7c9ab1f2d0"),
        ("mood-6d4b8f7c9-x2x9z", "mood"),  # `plimsoll render`: one stable Deployment
        ("mood", "mood"),
        ("m" * 58 + "x2x9z", "m" * 58 + "x2x9z"),  # cut by the API server: it doesn't tell
    ],
)
def test_the_revision_of_a_pod(name, revision):
    assert revision_of(name) == revision


def test_a_book_puts_slices_together_and_tells_what_changed():
    told = []
    book = ReplicaBook(lambda service, endpoints: told.append((service, [(e.replica, e.state) for e in endpoints])))

    def take(change, *pods, name="mood-1", **more):
        book.take(change, Key("shop", name), read_slice(slice_of(*pods, name=name, **more)))

    a, b = pod("a", "10.2.0.1", ready=True), pod("b", "10.2.0.2", ready=True)
    take(Change.ADDED, a)
    take(Change.ADDED, b, name="mood-2")
    assert told == [("shop/mood", [("a", READY)]), ("shop/mood", [("a", READY), ("b", READY)])]
    told.clear()

    take(Change.MODIFIED, a, b)  # b moves: for a moment it stands in both
    assert told == []
    take(Change.DELETED, b, name="mood-2")
    assert told == []

    take(Change.ADDED, pod("a", "10.2.0.1", serving=True, terminating=True), name="mood-2")  # one knows more
    assert told == [("shop/mood", [("a", DRAINING), ("b", READY)])]
    told.clear()

    take(Change.ADDED, pod("b", "fd00::2", ready=True), name="mood-6", kind="IPv6")  # dual stack
    assert told == []

    take(Change.MODIFIED, b, service="other")  # a slice that changed hands
    assert sorted(told) == [("shop/mood", [("a", DRAINING), ("b", READY)]), ("shop/other", [("b", READY)])]
    told.clear()
    for name in ("mood-2", "mood-6"):
        take(Change.DELETED, name=name)
    take(Change.DELETED, b, service="other")
    assert told[-2:] == [("shop/mood", []), ("shop/other", [])]
    assert not book._slices
    assert not book._told
