"""Keys of scaling, costs and nodes from end to end: what each is for, seen from outside.

How well replicas follow load: `test_scaling.py`. That no key is forgotten: `test_every_key.py`.
"""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.conftest import PLIMSOLL

# Sleeps 20 ms a request, one by one: 50 a second a replica. An item of {"burn": true} computes for 5 ms instead.
MODEL = """
import time


class Model:
    def predict(self, batch):
        for item in batch:
            if isinstance(item, dict):
                until = time.perf_counter() + 0.005
                while time.perf_counter() < until:
                    pass
            else:
                time.sleep(0.02)
        return [0] * len(batch)
"""
HEAD = "apiVersion: plimsoll.dev/v1alpha1\n"
ZONE = "Asia/Tokyo"
NOW = datetime.now(UTC)
# At the full hour, read in Tokyo: nine hours later than in UTC. The first fired within the last hour, the second nine
# hours before it; were they read in UTC, the second would be the later one.
HOURS = [(NOW + timedelta(hours=9)).hour, NOW.hour]
SCHEDULE = (
    f"policy: Schedule, minReplicas: 1, maxReplicas: 4, schedule: {{timeZone: {ZONE}, entries: "
    f'[{{cron: "0 {HOURS[0]} * * *", replicas: 3}}, {{cron: "0 {HOURS[1]} * * *", replicas: 1}}]}}'
)
ALWAYS = 'policy: Schedule, maxReplicas: 3, schedule: {entries: [{cron: "* * * * *", replicas: 3}]}'
SCALING = {
    "fixed": "policy: Fixed, minReplicas: 2",
    "clock": SCHEDULE,
    "knative": "policy: KPA, minReplicas: 1, maxReplicas: 3, kpa: {target: 1}",
    "rate": 'policy: HPA, writer: HPA, maxReplicas: 3, hpa: {metric: RequestsPerSecond, target: "20"}',
    "busy": "policy: HPA, writer: Controller, maxReplicas: 3, hpa: {metric: CPU, target: 20%}",
    "zero": "minReplicas: 0, policy: Budget, writer: KEDA, scaleToZeroAfter: 1s",
    "spare": "minReplicas: 1, maxReplicas: 3, spares: {count: 1, state: ModelLoaded}",
    "forked": "minReplicas: 1, maxReplicas: 3, spares: {count: 1, state: LibrariesLoaded}",
}
COSTS = {
    "capped": '{perHour: "0.20", whenExceeded: CapReplicas}',
    "warned": '{perHour: "0.20", whenExceeded: Warn}',
    "million": '{perMillionRequests: "0.50"}',
}
# 0.40 an hour for 4 replicas of 50m: 0.10 each.
PLATFORM = f"""{HEAD}kind: Platform
metadata: {{name: default}}
spec:
  currency: EUR
  nodeClasses:
  - name: small
    selector: {{kubernetes.io/arch: amd64}}
    pricePerHour: "0.40"
    capacity: {{cpu: 200m, memory: 4Gi}}
    provisioningTime: 30s
    provisioningTimeP90: 30s
    idleAfter: 10m
    meanTimeBetweenFailures: 8760h
    minNodes: 1
    maxNodes: 3
    idleWatts: 20
    maxWatts: 90
"""


def document(name, scaling, more=""):
    return (
        f"{HEAD}kind: ModelService\nmetadata: {{name: {name}}}\nspec:\n  model: {{path: ./model.py}}\n"
        f"  routes: [{{path: /{name}}}]\n  batching: {{maxSize: 1}}\n  resources: {{requests: {{cpu: 50m}}}}\n"
        f"  scaling: {{{scaling}}}\n{more}"
    )


def priced(name, cost):
    budget = f"  budget: {{latency: {{p99: 300ms}}, cost: {cost}}}\n"
    return document(name, "minReplicas: 1, maxReplicas: 6", budget)


BUDGET = "  budget: {latency: {p99: 300ms}}\n"
WINDOWS = {
    name: document(name, f"maxReplicas: 3, scaleDown: {{stabilizationWindow: {window}}}", BUDGET)
    for name, window in (("quick", "1s"), ("careful", "1h"))
}
SERVICES = {name: document(name, scaling) for name, scaling in SCALING.items()}
PRICED = {name: priced(name, cost) for name, cost in COSTS.items()}


def ranked(name, priority):
    return document(name, f"{ALWAYS}, priority: {priority}").replace("50m", "500m")


DOCUMENTS = [*SERVICES.values(), *PRICED.values(), *WINDOWS.values(), PLATFORM, ranked("first", 10)]


@pytest.fixture
def files(tmp_path):
    def write(documents):
        (tmp_path / "model.py").write_text(MODEL)
        for name, text in documents.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def offered(tmp_path):
    """`offered(running, name, rate, seconds)`: requests at a rate, behind."""
    started = []

    def start(running, name, rate, seconds, body="[1]"):
        command = [*PLIMSOLL, "load", name, "--rate", str(rate), "--for", f"{seconds}s", "--body", body, "--json"]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=running.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def statuses(running):
    return {one["name"]: one for one in json.loads(running.cli("status", "--json").stdout)["services"]}


def ready(told, phase="ready"):
    return sum(one["phase"] == phase for one in told["instances"])


def events(running, name):
    rows = [json.loads(line) for line in running.cli("events", name, "--json").stdout.splitlines()]
    return [row for row in rows if row["kind"] == "scaled"]


def test_who_decides_and_who_writes(up, files, offered, until):
    running = up(files(SERVICES), "--no-watch", "--cores", "4").ready()
    for name in ("rate", "knative", "busy"):
        offered(running, name, 60 if name != "busy" else 40, 45, "[1]" if name != "busy" else '{"burn": true}')

    def all_there(told):
        return (
            ready(told["fixed"]) == 2
            and ready(told["clock"]) == 3  # as the clocks in Tokyo say
            and told["knative"]["replicas"]["wanted"] == 3  # two requests at once are more than 70% of one
            and told["rate"]["replicas"]["wanted"] == 3  # 60/s at 20/s each
            and told["busy"]["replicas"]["wanted"] >= 2  # 20% of a core is 400% of a request of 50m
            and told["zero"]["replicas"] == {"ready": 0, "wanted": 0}
            and ready(told["spare"], "spare") == 1
        )

    seen = []
    until(
        lambda: seen.append(statuses(running)) or all_there(seen[-1]),
        within=40,
        message=lambda: json.dumps(
            {name: (one["replicas"], one["scaling"]["reason"]) for name, one in seen[-1].items()}, indent=1
        ),
    )
    told = seen[-1]
    print({name: one["scaling"]["reason"] for name, one in told.items()})
    policies = {name: one["scaling"]["policy"] for name, one in told.items()}
    assert policies["fixed"] == "fixed:2"
    assert policies["clock"].startswith("schedule")
    assert policies["knative"].startswith("kpa")
    assert policies["rate"].startswith("hpa-rps")
    assert policies["busy"].startswith("hpa-cpu")
    assert policies["zero"] == "budget"
    writers = {name: [line for line in one["not_honoured"] if "writer" in line] for name, one in told.items()}
    assert "HPA is a cluster's" in writers["rate"][0]
    assert "KEDA is a cluster's" in writers["zero"][0]
    assert writers["busy"] == []
    # Libraries are loaded in the fork server: no process waits beside those that serve.
    assert ready(told["forked"], "spare") == 0
    # From zero: the first request waits for a replica.
    assert running.post("/zero", 1)[0] == 200
    assert statuses(running)["fixed"]["replicas"]["wanted"] == 2


def test_how_soon_replicas_go(up, files, offered, until):
    running = up(files(WINDOWS), "--no-watch", "--cores", "4").ready()
    for name in WINDOWS:
        offered(running, name, 110, 6)
    for name in WINDOWS:
        until(lambda name=name: events(running, name), within=20, message=lambda: running.cli("events").stdout)
        assert events(running, name)[0]["replicas"] > 1
    until(lambda: statuses(running)["quick"]["replicas"]["wanted"] == 1, within=90)
    assert statuses(running)["careful"]["replicas"]["wanted"] > 1


def test_priority_where_there_is_too_little(up, files, until):
    """Four places, and two services that want three each."""
    running = up(files({"a": ranked("last", -3), "b": ranked("first", 10)}), "--no-watch", "--cores", "2").ready()
    until(
        lambda: (lambda told: (ready(told["first"]), ready(told["last"])) == (3, 1))(statuses(running)),
        within=20,
        message=lambda: running.cli("status").stdout,
    )
    assert "first" in running.cli("status", "last").stdout  # why it has less


def test_what_it_may_cost(up, files, offered, until):
    running = up(files({**PRICED, "platform": PLATFORM}), "--no-watch", "--cores", "4").ready()
    loads = [offered(running, name, 130, 14) for name in ("capped", "warned")]  # each needs three and more
    until(
        lambda: statuses(running)["warned"]["replicas"]["wanted"] >= 3,
        within=14,
        message=lambda: running.cli("events").stdout,
    )
    for name, words in (
        ("capped", "; the cost budget pays for 2"),
        ("warned", "; over the cost budget, which pays for 2"),
    ):
        until(
            lambda name=name, words=words: words in statuses(running)[name]["scaling"]["reason"],
            within=14,
            message=lambda: running.cli("events").stdout,
        )
    for one in loads:
        one.wait(40)
    assert max(row["replicas"] for row in events(running, "capped")) == 2  # 0.20 an hour at 0.10 each
    assert all("cost" not in line for one in statuses(running).values() for line in one["not_honoured"])
    told = json.loads(running.cli("validate", ".", "--json").stdout)
    assert any(
        "spec.nodeClasses: a laptop has no nodes" in line for file in told["files"] for line in file["not_honoured"]
    )


def test_without_prices_a_budget_of_costs_is_said_to_be_nothing(plimsoll, files):
    files({"capped": PRICED["capped"]})
    done = plimsoll("validate")
    assert done.returncode == 0
    assert "spec.budget.cost: nothing has a price; write a Platform with nodeClasses" in done.stdout


def test_nodes_bound_what_a_plan_can_have(plimsoll, files, tmp_path):
    """Five replicas of 50m are wanted where a node takes four; and a node that takes minutes comes too late."""
    files({"warned": PRICED["warned"]})
    (tmp_path / "trace.csv").write_text("seconds,requests_per_second\n0,30\n60,30\n61,160\n180,160\n")

    def planned(policy, **changed):
        lines = PLATFORM.splitlines()
        for key, value in changed.items():
            (at,) = [at for at, line in enumerate(lines) if line.startswith(f"    {key}: ")]
            lines[at] = f"    {key}: {value}"
        (tmp_path / "nodes.yaml").write_text("\n".join(lines))
        done = plimsoll("plan", "warned.yaml", "--nodes", "nodes.yaml", "--trace", "trace.csv", "--policies", policy,
                        "--service-time", "0ms+20ms", "--cold-start", "1s", "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["currency"] == "EUR"
        (row,) = [one for one in told["policies"] if one["name"] == policy]
        return row, told["seconds"] / 3600

    row, hours = planned("fixed:5")
    print(row)
    assert 1.5 * hours < row["node_hours"] <= 2 * hours + 1e-6
    assert row["cost"] == pytest.approx(0.40 * row["node_hours"], rel=1e-3)
    one, _ = planned("fixed:5", maxNodes=1)
    assert one["node_hours"] == pytest.approx(hours, rel=1e-3)
    assert one["replica_hours"] <= 4 * hours + 1e-6
    idle, _ = planned("fixed:1", minNodes=3)
    assert idle["node_hours"] == pytest.approx(3 * hours, rel=1e-3)
    soon, _ = planned("kpa:concurrency=2", capacity="{cpu: 50m, memory: 4Gi}", maxNodes=6, provisioningTime="1s")
    late, _ = planned("kpa:concurrency=2", capacity="{cpu: 50m, memory: 4Gi}", maxNodes=6, provisioningTime="90s",
                      provisioningTimeP90="90s")  # fmt: skip
    print(soon, late)
    assert late["late_share"] + late["refused_share"] > soon["late_share"] + soon["refused_share"] + 0.1
    failing, _ = planned("fixed:5", meanTimeBetweenFailures="1m")
    print(failing)
    assert failing["late_share"] + failing["refused_share"] > row["late_share"] + row["refused_share"] + 0.05
