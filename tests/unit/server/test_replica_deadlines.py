"""Deadlines that no sane client sends, straight at a replica: one clear answer each, and the model never sees it."""

import pytest

MS, GRPC, ENVOY = "plimsoll-deadline-ms", "grpc-timeout", "x-envoy-upstream-rq-timeout-ms"

PASSED = [(MS, "0"), (MS, "0.000000001"), (GRPC, "0H"), (GRPC, "1n"), (ENVOY, "0")]
NONSENSE = [
    *[(MS, text) for text in ("-1", "+5", "NaN", "inf", "1e3", "0x10", "soon", "", "1,5", "1" * 16, "9" * 400, "1.")],
    *[(GRPC, text) for text in ("100", "-1S", "1.5S", "100000000m", "1s", "", "1SS")],
    *[(ENVOY, text) for text in ("-5", "abc", "")],
]
HUGE = [(MS, "9" * 15), (GRPC, "99999999H"), (ENVOY, "9" * 15)]


@pytest.fixture(scope="module", params=[True, False], ids=["behind a gateway", "alone"])
def host(request, tmp_path_factory):
    """One for all of them: each must leave it as it was."""
    from tests.support.replica_host import ReplicaHost

    running = ReplicaHost(tmp_path_factory.mktemp("puppet"), trusted=request.param, spec={"timeout": "2s"})
    yield running
    running.close()


def asked(host, headers, tag):
    """(status, outcome, whether the model saw it); exactly one more is counted, as that."""
    before = sum(host.outcomes().values())
    got = host.post("/puppet", {"tag": tag}, dict(headers))
    assert sum(host.outcomes().values()) == before + 1
    assert host.outcomes()[got.outcome] >= 1
    return got, [tag] in host.tags()


@pytest.mark.parametrize("header", PASSED, ids=": ".join)
def test_what_has_passed_is_expired_and_not_computed(host, header):
    got, computed = asked(host, [header], f"passed {header}")
    assert (got.status, got.outcome, computed) == (504, "expired", False)
    assert "deadline" in got.json["error"]


@pytest.mark.parametrize("header", NONSENSE, ids=": ".join)
def test_nonsense_is_invalid_and_named(host, header):
    got, computed = asked(host, [header], f"nonsense {header}")
    assert (got.status, got.outcome, computed) == (400, "invalid", False)
    assert header[0] in got.json["error"]


@pytest.mark.parametrize("header", HUGE, ids=": ".join)
def test_huge_is_answered(host, header):
    got, computed = asked(host, [header], f"huge {header}")
    assert (got.status, got.outcome, computed) == (200, "ok", True)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([(ENVOY, "0"), (GRPC, "5S"), (MS, "5000")], "ok"),
        ([(MS, "0"), (GRPC, "5S"), (ENVOY, "5000")], "expired"),
        ([(GRPC, "0S"), (ENVOY, "5000")], "expired"),
    ],
)
def test_several_at_once_and_ours_counts(host, headers, outcome):
    got, computed = asked(host, headers, f"several {headers}")
    assert (got.outcome, computed) == (outcome, outcome == "ok")


def test_after_all_that_nothing_is_left_in_it(host):
    assert host.plain({"tag": "last"}).status == 200
    host.in_flight(0)
    host.queued(0)
    assert host.replica._intake.held_bytes == 0
