"""`plimsoll plan` as a user runs it: a table, JSON, a page, an exit code for CI, errors that help, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import time
from html.parser import HTMLParser

import psutil
import pytest
from tests.e2e.conftest import PLIMSOLL, alive

PROFILE = {
    "plimsollProfile": 1, "a_s": 0.004, "c_s": 0.0015, "spread": 0.2, "cold_s": 4.0, "name": "mood", "max_batch": 64,
}  # fmt: skip
SPEC = "  budget: {latency: {p99: 100ms}}\n  scaling: {minReplicas: 1, maxReplicas: 6}\n"
# 60/s for a minute, then a rise to 900/s that takes two replicas, and down again
COUNTS = [60 * rate for rate in (60, 300, 900, 600, 120)]


@pytest.fixture
def mood(service):
    def write(spec=SPEC, **profile):
        folder = service("mood", spec=spec)
        (folder / "mood.profile.json").write_text(json.dumps(PROFILE | profile))
        rows = "".join(f"{minute * 60},{count}\n" for minute, count in enumerate(COUNTS))
        (folder / "day.csv").write_text(f"period,count\n{rows}")
        return folder

    return write


def test_a_table_with_a_verdict_and_advice(plimsoll, mood):
    folder = mood()
    done = plimsoll("plan", "service.yaml", "--trace", "day.csv", "--policies", "budget,hpa-rps,fixed:3", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert re.match(r"  day\.csv: 1\d\d,\d{3} requests in 5m, mean \d+/s, peak \d{3,4}/s", lines[0])
    assert lines[1].startswith("  mood: 4ms + 1.5ms an item (20% spread), cold start 4s; a replica answers about")
    assert re.match(r"  1\d\d,\d{3} requests x 3 policies at [\d,]+/s.*: (a second|about \d+ s); seed 1", lines[2])
    heads = next(line for line in lines if "POLICY" in line)
    assert " ".join(heads.split()) == "POLICY REQUESTS LATE REFUSED P50 P95 P99 REPLICA-H ACTS"
    rows = [line.split()[0] for line in lines[lines.index(heads) + 1 :][:3]]
    assert rows == ["budget", "hpa-rps", "fixed:3"]
    assert any(line.startswith("  VERDICT  budget ") for line in lines)
    assert any(line.startswith("  advice   ") for line in lines)


def test_json_and_the_page_say_the_same_and_a_seed_repeats_it(plimsoll, mood):
    folder = mood()
    command = ("plan", "service.yaml", "--trace", "day.csv", "--price", 0.04, "--json", "--policies")
    first = plimsoll(*command, "budget,kpa,oracle", "--html", "plan.html", cwd=folder)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert [one["name"] for one in told["policies"]] == ["budget", "kpa", "oracle"]
    for one in told["policies"]:
        assert set(one) >= {
            "name", "late_share", "refused_share", "p50_ms", "p95_ms", "p99_ms", "replica_hours", "node_hours", "cost",
            "scaling_acts", "oracle_ratio", "outcomes",
        }  # fmt: skip
    budget, _, oracle = told["policies"]
    assert sum(budget["outcomes"].values()) == budget["offered"] == told["requests"]
    assert budget["cost"] == pytest.approx(budget["replica_hours"] * 0.04, rel=1e-4)
    assert budget["oracle_ratio"] >= 1 == oracle["oracle_ratio"]
    page = (folder / "plan.html").read_text()
    HTMLParser().feed(page)
    assert "replicas ready" in page
    assert not re.search(r"(src|href)=", page)

    again = json.loads(plimsoll(*command, "budget,kpa", cwd=folder).stdout)
    assert again["policies"] == [one | {"oracle_ratio": None} for one in told["policies"][:2]]


def test_a_breach_ends_with_1_where_ci_asked_for_it(plimsoll, mood):
    folder = mood(SPEC.replace("maxReplicas: 6", "maxReplicas: 1"))
    command = ("plan", "service.yaml", "--trace", "day.csv", "--policies", "budget")
    done = plimsoll(*command, "--fail-on-breach", cwd=folder)
    assert done.returncode == 1, done.stdout
    assert "short: maxReplicas 1 is too low" in done.stdout  # at once, before anything is simulated
    assert done.stdout.index("short: ") < done.stdout.index("POLICY")
    assert "BREAKS the budget" in done.stdout
    assert plimsoll(*command, cwd=folder).returncode == 0
    assert plimsoll(*command, "--max-replicas", 6, "--fail-on-breach", cwd=folder).returncode == 0


def test_an_impossible_budget_says_why_at_once(plimsoll, mood):
    done = plimsoll("plan", "--trace", "day.csv", "--p99", "6ms", "--policies", "budget", cwd=mood())
    assert "impossible: p99 6 ms is impossible: on an idle replica a single request takes 8.5 ms" in done.stdout


def test_the_fluid_model_prints_its_error(plimsoll, mood):
    done = plimsoll("plan", "--trace", "day.csv", "--policies", "budget,hpa-rps", "--fast", "--json", cwd=mood())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fast"] is True
    assert told["notes"][0].startswith(
        "--fast is a fluid model. Beside budget request by request (5m): late or refused"
    )


def test_nodes_take_time_and_money(plimsoll, mood):
    folder = mood()
    (folder / "nodes.yaml").write_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec:\n  nodeClasses:\n"
        '  - {name: small, pricePerHour: "0.50", capacity: {cpu: "2"}, provisioningTime: 30s, minNodes: 1}\n'
    )
    command = ("plan", "--trace", "day.csv", "--policies", "budget", "--nodes", "nodes.yaml", "--json")
    (row,) = json.loads(plimsoll(*command, cwd=folder).stdout)["policies"]
    assert row["node_hours"] >= row["replica_hours"] / 2
    assert row["cost"] == pytest.approx(row["node_hours"] * 0.5, rel=1e-3)


def test_several_jobs_share_a_total(plimsoll, tmp_path):
    """The published experiment's set-up, made small: counts a minute with a column a job, lognormal service times."""
    rows = "".join(f"{minute},{600 + 60 * minute},{900 - 60 * minute},60\n" for minute in range(4))
    (tmp_path / "counts.csv").write_text(f"minute,one,two,three\n{rows}")
    done = plimsoll(
        "plan", "--trace", "counts.csv", "--service-time", "lognorm:0.4225,79.3ms,68.6ms", "--p99", "720ms",
        "--queue-cap", 50, "--replicas-total", 6, "--policies", "budget", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(one["service"], one["name"]) for one in told["policies"]] == [
        ("one", "budget"), ("two", "budget"), ("three", "budget"),
    ]  # fmt: skip
    (together,) = told["together"]
    assert together["offered"] == sum(one["offered"] for one in told["policies"])
    missed = sum(one["offered"] * (one["late_share"] + one["refused_share"]) for one in told["policies"])
    assert together["late_share"] + together["refused_share"] == pytest.approx(missed / together["offered"], abs=1e-5)
    assert together["replica_hours"] <= 6 * 4 / 60 * 1.01


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--trace is missing"),
        (("--trace", "none.csv"), "none.csv: cannot be read: No such file or directory"),
        (("--trace", "empty.csv"), "empty.csv has no requests"),
        (("--trace", "zero.csv"), "zero.csv has no requests: every rate is 0"),
        (("--trace", "twice.csv"), "twice.csv:3 has the time of another row"),
        (("--trace", "day.csv", "--policies", "kpq"), "--policies: unknown scaling policy 'kpq' (did you mean kpa?)"),
        (("--trace", "day.csv", "--slice", "9h/10h"), "the trace has nothing there; it spans 5m"),
        (("--trace", "day.csv", "--min-replicas", 9, "--max-replicas", 3), "at most 3 replicas and at least 9"),
        (("--trace", "day.csv", "--profile", "day.csv"), "day.csv: not a profile"),
        (("--trace", "day.csv", "--service-time", "x"), "write 4ms+1.5ms"),
        (("--trace", "other=day.csv"), "is of other; the services are mood"),
        (("--trace", "day.csv", "--nodes", "service.yaml"), "has no nodeClasses"),
        (("--trace", "day.csv", "--html", "no/such/folder.html"), "--html no/such/folder.html: No such file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_simulated(plimsoll, mood, args, message):
    folder = mood()
    (folder / "empty.csv").write_text("period,count\n")
    (folder / "zero.csv").write_text("seconds,requests_per_second\n0,0\n60,0\n")
    (folder / "twice.csv").write_text("seconds,requests_per_second\n0,1\n0,2\n60,1\n")
    done = plimsoll("plan", *args, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "POLICY" not in done.stdout


def test_without_a_profile_the_next_command_is_named(plimsoll, service):
    folder = service("mood", spec=SPEC)
    done = plimsoll("plan", "--trace", "synthetic:mean=5,days=0.01", cwd=folder)
    assert done.returncode == 2
    assert "no profile of mood; learn it with: plimsoll profile service.yaml" in done.stderr


@pytest.mark.parametrize(
    ("rows", "part", "requests"),
    [
        ("0,6\n60,6000000\n120,6\n", (), 6_000_012),  # a spike of a million times
        ("0,100\n86400,100\n", ("--slice", "0s/10m"), None),  # a day with nothing in it
        ("120,50\n0,100\n60,0\n", (), 150),  # in no order, and a minute without any
        ("0,50\n0,50\n60,100\n", (), 200),  # a minute twice
    ],
)
def test_odd_traces_are_looked_at_without_trouble(plimsoll, mood, rows, part, requests):
    folder = mood()
    (folder / "odd.csv").write_text(f"period,count\n{rows}")
    done = plimsoll("plan", "--trace", "odd.csv", *part, "--policies", "budget", "--fast", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if requests is not None:
        assert told["requests"] == pytest.approx(requests, rel=0.25)
    (budget,) = told["policies"]
    assert sum(budget["outcomes"].values()) == budget["offered"]


def test_ctrl_c_prints_what_is_done_and_leaves_nobody(mood, env):
    folder = mood()
    process = subprocess.Popen(
        [*PLIMSOLL, "plan", "--trace", "synthetic:mean=3000,days=0.2", "--policies", "fixed:1,budget,kpa",
         "--max-replicas", "40", "--json"],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    children = []
    until = time.monotonic() + 40
    while not children and time.monotonic() < until and process.poll() is None:
        children = [
            child.pid
            for child in psutil.Process(process.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        time.sleep(0.05)
    assert children, process.communicate(timeout=10)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert told["interrupted"] is True
    assert "Traceback" not in err
    until = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert [child for child in children if alive(child)] == []
