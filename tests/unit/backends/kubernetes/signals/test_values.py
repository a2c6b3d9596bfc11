"""Rounding, quantities, selectors, the book, whose an APIService is, figures from queries."""

import asyncio
from fractions import Fraction

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.backends.kubernetes.signals.book import Bounds, NoSuchMetric, SignalBook, TooOld
from plimsoll.backends.kubernetes.signals.ownership import CUSTOM, EXTERNAL, refusal
from plimsoll.backends.kubernetes.signals.prometheus import Prometheus, Queried
from plimsoll.backends.kubernetes.signals.quantity import quantity
from plimsoll.backends.kubernetes.signals.rounding import TOLERANCE, landing, published
from plimsoll.backends.kubernetes.signals.selector import parse_selector
from plimsoll.core.errors import HostError
from plimsoll.ports.signals import PodSignal, ServiceSignal

# --- rounding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "wanted", "lands"),
    [
        (5, 6, 6), (5, 5, 5), (5, 4, 4), (5, 20, 20), (5, 1, 1),
        (11, 12, 13), (11, 13, 13), (11, 11, 11), (11, 10, 11), (11, 9, 9),
        (50, 51, 56), (50, 55, 56), (50, 56, 56), (50, 57, 57), (50, 48, 50), (50, 44, 44),
        (200, 201, 221), (200, 220, 221), (200, 221, 221), (200, 230, 230), (200, 185, 200), (200, 179, 179),
    ],
)  # fmt: skip
def test_on_an_old_cluster_a_small_step_up_is_taken_and_a_small_one_down_waits(current, wanted, lands):
    assert landing(published(wanted, current, TOLERANCE), current, TOLERANCE) == lands


@pytest.mark.parametrize("current", [5, 11, 50, 200])
def test_with_a_tolerance_of_zero_every_step_is_taken(current):
    for wanted in range(1, 2 * current):
        assert published(wanted, current, 0.0) == wanted
        assert landing(published(wanted, current, 0.0), current, 0.0) == wanted


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_never_fewer_than_wanted_and_never_far_past_the_band(current, wanted):
    there = landing(published(wanted, current, TOLERANCE), current, TOLERANCE)
    assert there >= min(wanted, current) if wanted <= current else there >= wanted
    assert there <= max(wanted, int(current * 1.1) + 2)


def test_from_nothing_the_count_itself():
    assert (published(3, 0, TOLERANCE), published(3, None, TOLERANCE)) == (3.0, 3.0)


# --- quantities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (12.2, "12200m"),
        (0.0003, "300u"),
        (1234.5678, "1234568m"),
        (5e-10, "0"),
        (3e-7, "300n"),
    ],
)
def test_quantities(value, text):
    assert quantity(value) == text


@given(st.floats(1e-6, 1e12))
def test_a_quantity_keeps_its_value(value):
    text = quantity(value)
    scale = {"m": 1000, "u": 10**6, "n": 10**9}.get(text[-1], 1)
    read = float(Fraction(int(text.rstrip("mun")), scale))
    assert read == pytest.approx(value, rel=2e-4)


def test_what_is_no_number_is_refused():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="no quantity"):
            quantity(value)


# --- selectors --------------------------------------------------------------------------------------------------------

LABELS = {"app": "mood", "tier": "gold", "size": "7", "example.com/team": "a"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True), ("app=mood", True), ("app==mood", True), ("app = mood", True), ("app=sad", False),
        ("app!=mood", False), ("app!=sad", True), ("other!=x", True), ("app in (sad, mood)", True),
        ("app in (sad)", False), ("app notin (sad,calm)", True), ("app notin (mood)", False),
        ("other notin (x)", True), ("other in (x)", False), ("app", True), ("other", False), ("!other", True),
        ("!app", False), ("size>6", True), ("size>7", False), ("size<8", True), ("tier<8", False), ("other<8", False),
        ("example.com/team=a,tier in (gold,silver),!other", True), ("app=mood,tier=silver", False), ("empty=", False),
    ],
)  # fmt: skip
def test_selectors(text, fits):
    assert parse_selector(text)(LABELS) is fits


@pytest.mark.parametrize("text", ["app in mood", "=x", "app in (a", "a b", "app=mood,,(x)", "app in (a)) ", "-x"])
def test_what_is_no_selector_says_so(text):
    with pytest.raises(ValueError, match="no label selector"):
        parse_selector(text)


# --- the book ---------------------------------------------------------------------------------------------------------

ALL = parse_selector("")


def signal(name="mood", desired=4, at=100.0, *, namespace="shop", values_at=100.0, **more):
    usual = {
        "current": 4, "labels": {"team": "a"}, "values": {"requests_per_second": 120.5}, "values_at": values_at,
        "pods": [PodSignal(f"{name}-1-x", {"requests_per_second": 60.0}, at)],
    }  # fmt: skip
    return ServiceSignal(namespace, name, desired, at, **usual | more)


def book(*signals, **more):
    labels = {"mood-1-x": {"plimsoll.dev/service": "mood", "rev": "1"}, "calm-1-x": {"plimsoll.dev/service": "calm"}}
    made = SignalBook(pod_labels=lambda namespace, pod: labels.get(pod), **more)
    made.publish(signals)
    return made


def external(made, metric="plimsoll_desired_replicas", selector="", *, namespace="shop", now=101.0):
    return [(one.name, one.value) for one in made.external(namespace, metric, parse_selector(selector), now)]


def test_counts_and_figures_by_selector():
    made = book(signal(), signal("calm", 1, values={"requests_per_second": 3.0}), signal("mood", 9, namespace="lab"))
    assert external(made) == [("calm", 1.0), ("mood", 4.0)]
    assert external(made, selector="service=mood") == [("mood", 4.0)]
    assert external(made, selector="service=mood", namespace="lab") == [("mood", 9.0)]
    assert external(made, selector="team=a,service!=calm") == [("mood", 4.0)]
    assert external(made, namespace="far") == []
    assert external(made, "requests_per_second", "service in (mood,calm)") == [("calm", 3.0), ("mood", 120.5)]
    assert external(made, "gpu_utilization") == [], "nobody measures it"
    with pytest.raises(NoSuchMetric, match="no metric cpu; there are plimsoll_desired_replicas, requests_per_second"):
        external(made, "cpu")


def test_what_is_too_old_is_an_error_in_words_and_never_an_answer():
    made = book(signal(at=100.0, values_at=80.0), bounds=Bounds(count_s=15.0, values_s=30.0))
    assert external(made, now=115.0) == [("mood", 4.0)]
    with pytest.raises(TooOld, match="the count of shop/mood is 16 s old: this controller stands still"):
        external(made, now=116.0)
    assert external(made, "requests_per_second", now=110.0) == [("mood", 120.5)]
    with pytest.raises(TooOld, match="what is known of shop/mood is 31 s old"):
        external(made, "requests_per_second", now=111.0)
    held = "no word from a gateway: 4 replicas stay until metrics are back"
    with pytest.raises(TooOld, match=held):
        external(book(signal(holding=held, values_at=None)), "requests_per_second")
    assert external(book(signal(holding=held, values_at=None))) == [("mood", 4.0)], "the count is held, and told"
    with pytest.raises(TooOld, match="nothing was decided"):
        external(book(signal(desired=None)))
    with pytest.raises(TooOld):
        external(book(signal(), signal("old", at=10.0))), "a sum without one of them would be wrong"


def test_pods_without_figures_are_left_out():
    made = book(
        signal(pods=[PodSignal("mood-1-x", {"requests_per_second": 60.0}, 100.0),
                     PodSignal("mood-1-old", {"requests_per_second": 60.0}, 50.0),
                     PodSignal("mood-1-unknown", {"requests_per_second": 60.0}, 100.0)]),
        signal("calm"),
    )  # fmt: skip

    def of(selector="", pod=None, metric="requests_per_second"):
        return [one.name for one in made.of_pods("shop", metric, parse_selector(selector), pod, 101.0)]

    assert of() == ["mood-1-x", "calm-1-x"]
    assert of("plimsoll.dev/service=mood") == ["mood-1-x"]
    assert of(pod="calm-1-x") == ["calm-1-x"]
    assert of(metric="queue_length") == []
    with pytest.raises(NoSuchMetric, match="pod shop/nobody has no requests_per_second"):
        of(pod="nobody")
    with pytest.raises(NoSuchMetric, match="pods have no metric cpu"):
        of(metric="cpu")


def test_a_publication_wakes_who_follows():
    async def main():
        made = book()
        news = made.news
        made.publish([signal()])
        assert news.is_set()
        assert not made.news.is_set()

    asyncio.run(main())


def test_counts_on_an_old_cluster_are_past_the_tolerance():
    made = book(signal(desired=12, current=11), tolerance=TOLERANCE)
    assert made.count("shop", "mood", 101.0) == 12
    assert landing(made.value("shop", "mood", 101.0), 11, TOLERANCE) == 13


# --- whose an APIService is -------------------------------------------------------------------------------------------


def test_what_another_serves_is_never_taken():
    theirs = {"spec": {"service": {"namespace": "keda", "name": "keda-operator-metrics-apiserver"}}}
    assert refusal(EXTERNAL, theirs).startswith(
        "v1beta1.external.metrics.k8s.io is served by keda/keda-operator-metrics-apiserver: ours stays off"
    )
    ours = {"spec": {"service": {"namespace": "plimsoll-system", "name": "plimsoll-controller-api"}}}
    assert refusal(EXTERNAL, ours) == refusal(CUSTOM, None) == ""
    assert refusal(CUSTOM, ours, namespace="elsewhere") != "", "another installation's is another's"
    assert "served by the API server itself" in refusal(CUSTOM, {"spec": {}})


# --- queries ----------------------------------------------------------------------------------------------------------


def prometheus(handler, **more):
    return Prometheus("http://prometheus:9090/", transport=httpx2.MockTransport(handler), **more)


def vector(*samples):
    result = [{"metric": labels, "value": [1700000000.0, value]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_figures_of_services_from_queries(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    asked = []

    def handler(request):
        asked.append((request.url.path, request.url.params["query"], request.headers.get("authorization")))
        if "broken" in request.url.params["query"]:
            return httpx2.Response(400, json={"status": "error", "error": "parse error"})
        return httpx2.Response(
            200,
            json=vector(
                ({"namespace": "shop", "pod": "mood-1-x"}, "0.5"),
                ({"exported_namespace": "shop", "exported_pod": "mood-1-y", "namespace": "gpu"}, "0.7"),
                ({"namespace": "shop", "pod": "else"}, "1"),
                ({"namespace": "shop", "service": "calm"}, "NaN"),
            ),
        )

    async def main():
        source = prometheus(handler, folder=str(tmp_path))
        pods = {"mood-1-x": "mood", "mood-1-y": "mood"}
        queried = Queried(source, {"gpu_utilization": "gpus", "x": "broken"}, lambda space, pod: pods.get(pod))
        await queried.look()
        assert queried.of("shop", "mood") == {"gpu_utilization": pytest.approx(0.6)}
        assert queried.of("shop", "calm") == {}
        assert "parse error" in queried.problem
        assert asked[0] == ("/api/v1/query", "gpus", "Bearer secret")
        token.unlink()  # a Secret that isn't there, or no more
        await queried.look()
        assert asked[-1][2] is None
        await source.close()

    asyncio.run(main())


def test_a_prometheus_that_is_away_is_an_error_with_its_place():
    async def main():
        def handler(request):
            raise httpx2.ConnectError("no route")

        with pytest.raises(HostError, match="http://prometheus:9090/api/v1/query does not answer: no route"):
            await prometheus(handler).query("up")

    asyncio.run(main())


def test_an_authority_that_is_none_is_told(tmp_path):
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(HostError, match=r"ca\.crt can't be used: .*; it must hold PEM certificates"):
        Prometheus("https://prometheus:9090", folder=str(tmp_path))
