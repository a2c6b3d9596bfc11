"""What a file says of scaling, cost and nodes; what is wrong with it; and what policies are told."""

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling import named
from plimsoll.spec import (
    ModelService,
    Platform,
    bounds_of,
    load_all_text,
    load_text,
    not_honoured,
    policy_text,
    price_per_hour,
)

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec:\n  model: {path: ./m.py}\n"
PLATFORM = "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec:\n"
FRAUD = """\
  budget:
    latency: {p95: 25ms, p99: 60ms}
    cost: {perMillionRequests: "4.00", perHour: "2.50", whenExceeded: CapReplicas}
  scaling:
    minReplicas: 0
    maxReplicas: 12
    policy: Budget
    writer: Controller
    scaleToZeroAfter: 5m
    spares: {count: 1, state: LibrariesLoaded}
    hold: 30s
    scaleDown: {stabilizationWindow: 2m}
    priority: 7
  resources: {requests: {cpu: "2", memory: 2Gi}}
  batching: {maxSize: 64}
"""
CPU = 'name: cpu, pricePerHour: "0.80", capacity: {cpu: "16", memory: 32Gi}'
LARGE = 'name: large, pricePerHour: "1.20", capacity: {cpu: "32", memory: 64Gi}'
SMALL = 'name: small, pricePerHour: "0.02", capacity: {cpu: "1"}'
EVERY_DAY = "{cron: '0 8 * * *', replicas: 1}"
BARE = 'name: bare, pricePerHour: "0.09"'


def only(spec: str) -> ModelService:
    (service,) = load_text(f"{HEAD}{spec}", file="service.yaml")
    return service


def scaled(scaling: str) -> ModelService:
    return only(f"  scaling: {{{scaling}}}\n")


def platform(*classes: str) -> Platform:
    (found,) = load_all_text(PLATFORM + "  nodeClasses:\n" + "".join(f"  - {{{one}}}\n" for one in classes)).platforms
    return found


def problems(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(text, file="service.yaml")
    return [str(error).removeprefix("service.yaml:6  ") for error in caught.value.errors]


def test_the_defaults() -> None:
    service = only("")
    assert bounds_of(service) == Bounds(least=1, most=1, timeout_s=60.0, zero_after_s=600.0)
    assert policy_text(service) == "budget"
    scaling = service.spec.scaling
    assert (scaling.policy, scaling.writer, scaling.spares, scaling.priority) == ("Budget", "Controller", None, 0)
    assert (service.cost_per_hour, service.cost_per_million, service.cost_caps) == (None, None, False)
    assert scaled("minReplicas: 0").max_replicas == 1  # a service that can never run is none


def test_every_key_in_plain_numbers() -> None:
    service = only(FRAUD)
    assert bounds_of(service, platform(CPU)) == Bounds(
        least=0,
        most=12,
        p99_s=0.06,
        timeout_s=0.12,
        max_batch=64,
        zero_after_s=300.0,
        down_window_s=120.0,
        cost_per_hour=2.5,
        cost_per_million=4.0,
        price_per_hour=0.1,
        cap_at_cost=True,
    )
    spares = service.spec.scaling.spares
    assert spares is not None
    assert (spares.count, spares.state) == (1, "LibrariesLoaded")
    assert service.spec.scaling.priority == 7
    assert ModelService.parse(service.dump()) == service


def test_without_prices_costs_bound_nothing() -> None:
    bounds = bounds_of(only(FRAUD))
    assert (bounds.price_per_hour, bounds.cost_per_hour, bounds.cost_per_million) == (0.0, None, None)
    assert not bounds.cap_at_cost


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([CPU], 0.8 * 2 / 16),  # 2 of 16 cores; 2 of 32 GiB are less
        ([CPU, LARGE], 1.2 * 2 / 32),  # the cheapest
        ([SMALL], None),  # two cores don't fit on one
        ([SMALL, CPU], 0.8 * 2 / 16),
        ([BARE], 0.09),  # of unknown capacity: a whole node
        ([CPU, BARE], 0.09),
        (['name: wide, pricePerHour: "1", capacity: {cpu: "64", memory: 8Gi}'], 0.25),  # memory is what it takes most
        (['name: free, pricePerHour: "0"'], 0.0),
    ],
)
def test_a_replicas_price(classes: list[str], expected: float | None) -> None:
    found = price_per_hour(only(FRAUD), platform(*classes))
    assert found is expected if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("maxReplicas: 3", "budget"),
        ("policy: Fixed, minReplicas: 3", "fixed:3"),
        ("policy: Fixed, minReplicas: 3, maxReplicas: 3", "fixed:3"),
        ("policy: HPA, maxReplicas: 3", "hpa-cpu:target=70%"),
        ("policy: HPA, maxReplicas: 3, hpa: {target: 55%}", "hpa-cpu:target=55%"),
        ("policy: HPA, maxReplicas: 3, hpa: {}", "hpa-cpu:target=70%"),
        ("policy: HPA, maxReplicas: 3, hpa: {metric: RequestsPerSecond, target: 400}", "hpa-rps:target=400"),
        ("policy: KPA, maxReplicas: 3", "kpa"),
        ("policy: KPA, maxReplicas: 3, kpa: {target: 8}", "kpa:concurrency=8"),
        (f"policy: Schedule, schedule: {{entries: [{EVERY_DAY}]}}", "schedule:0 8 * * *=1;tz=UTC"),
        (
            "policy: Schedule, maxReplicas: 6, schedule: {timeZone: Europe/Berlin, entries: "
            "[{cron: '0 8 * * 1-5', replicas: 6}, {cron: '0 20 * * *', replicas: 1}]}",
            "schedule:0 8 * * 1-5=6;0 20 * * *=1;tz=Europe/Berlin",
        ),
    ],
)
def test_the_policy_as_it_is_named_elsewhere(scaling: str, expected: str) -> None:
    assert policy_text(scaled(scaling)) == expected


@pytest.mark.parametrize(
    "pair", ["HPA, writer: HPA", "Budget, writer: HPA", "Budget, writer: KEDA", "KPA, writer: Controller"]
)
def test_a_writer_is_a_clusters(pair: str) -> None:
    told = [line.partition(":")[0] for line in not_honoured(scaled(f"policy: {pair}"))]
    assert told == ([] if "Controller" in pair else ["spec.scaling.writer"])


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("policy: budget", "policy: 'budget' is not one of Budget, HPA, KPA, Fixed or Schedule; did you mean Budget?"),
        ("policy: KEDA", "policy: 'KEDA' is not one of Budget, HPA, KPA, Fixed or Schedule"),
        (
            "policy: Fixed, writer: HPA",
            "writer: HPA can't write what policy Fixed decides; expected Controller, or policy Budget, HPA, KPA or "
            "Schedule",
        ),
        (
            "policy: HPA, writer: KEDA",
            "writer: KEDA can't write what policy HPA decides; expected Controller, or policy Budget, KPA or Schedule",
        ),
        (
            "policy: HPA, minReplicas: 0",
            "minReplicas: HPA doesn't go to zero, as Kubernetes'; expected 1 or more, or another policy: Budget, KPA",
        ),
        (
            "policy: Fixed, minReplicas: 0",
            "minReplicas: Fixed would serve nobody with 0; expected 1 or more (replicas: 0 pauses a service)",
        ),
        (
            "policy: Fixed, minReplicas: 2, maxReplicas: 3",
            "maxReplicas: Fixed runs minReplicas (2); remove maxReplicas, or choose a policy that scales: Budget",
        ),
        (
            "scaleToZeroAfter: 5m",
            "scaleToZeroAfter: nothing goes to zero with minReplicas: 1; remove it, or write minReplicas: 0",
        ),
        ("minReplicas: 0, scaleToZeroAfter: 0s", "scaleToZeroAfter: '0s' is no time at all; expected a duration abo"),
        ("spares: {}", "spares.count: missing; expected how many. 0: none, whatever the policy would keep"),
        ("spares: {count: -1}", "spares.count: -1 is too small; expected 0 or more"),
        (
            "spares: {count: 1, state: Loaded}",
            "spares.state: 'Loaded' is not one of ModelLoaded or LibrariesLoaded; did you mean ModelLoaded?",
        ),
        ("scaleDown: {stabilizationWindow: 5}", "scaleDown.stabilizationWindow: 5 has no unit; write 5ms or 5s"),
        ("priority: high", "priority: expected a whole number, not 'high'"),
        ("priority: 1000001", "priority: 1000001 is too large; expected 1000000 or less"),
        ("hpa: {target: 70%}", "hpa: belongs to policy: HPA; remove it, or choose that policy"),
        ("policy: HPA, kpa: {target: 7}", "kpa: belongs to policy: KPA; remove it, or choose that policy"),
        ("policy: HPA, hpa: {target: 70}", "hpa.target: 70 is not marked as a percentage; CPU expects a share, such"),
        ("policy: HPA, hpa: {target: 0%}", "hpa.target: '0%' is no target; expected a share above 0 such as 70%"),
        ("policy: HPA, hpa: {target: 0.5%}", "hpa.target: 0.5% is no whole percentage; expected 1% to 100%"),
        ("policy: HPA, hpa: {target: 0.7}", 'hpa.target: 0.7 needs quotes; write "0.7"'),
        ("policy: HPA, hpa: {target: 120%}", "hpa.target: '120%' is no share; write a percentage from 0% to 100%"),
        ("policy: HPA, hpa: {metric: RequestsPerSecond}", "hpa.target: missing; RequestsPerSecond needs it: target:"),
        (
            "policy: HPA, hpa: {metric: RequestsPerSecond, target: 70%}",
            "hpa.target: 70% is a share; RequestsPerSecond expects a number",
        ),
        ("policy: KPA, kpa: {target: 0}", "kpa.target: 0 is too small; expected 1 or more"),
        ("policy: Schedule", "schedule: missing; policy Schedule needs entries: [{cron:"),
        ("policy: Schedule, schedule: {}", "schedule.entries: missing; expected a mapping with cron or replicas"),
        ("policy: Schedule, schedule: {entries: []}", "schedule.entries: expected at least 1 entry"),
        (f"schedule: {{entries: [{EVERY_DAY}]}}", "schedule: belongs to policy: Schedule; remove it"),
        (
            "policy: Schedule, schedule: {entries: [{cron: '0 8 * *', replicas: 1}]}",
            "schedule.entries[0].cron: '0 8 * *' is no cron line; expected minute, hour, day, month, weekday",
        ),
        (
            "policy: Schedule, schedule: {entries: [{cron: '0 25 * * *', replicas: 1}]}",
            "schedule.entries[0].cron: '0 25 * * *' is no cron line (bad hour); expected one such as 0 8 * * 1-5",
        ),
        (
            "policy: Schedule, schedule: {entries: [{cron: '0 8 30 2 *', replicas: 1}]}",
            "schedule.entries[0].cron: '0 8 30 2 *' ",
        ),
        (
            "policy: Schedule, schedule: {entries: [{cron: '0 8 * * *', replicas: 2}]}",
            "schedule.entries[0].replicas: 2 is above maxReplicas (1); expected 1 or less, or raise that",
        ),
        (
            f"minReplicas: 2, policy: Schedule, schedule: {{entries: [{EVERY_DAY}]}}",
            "schedule.entries[0].replicas: 1 is below minReplicas (2); expected 2 or more, or lower that",
        ),
        (
            f"policy: Schedule, schedule: {{entries: [{EVERY_DAY}], timeZone: Europe/Berln}}",
            "schedule.timeZone: 'Europe/Berln' is no time zone known here; expected a name such as Europe/Berlin",
        ),
        (
            f"policy: Schedule, schedule: {{entries: [{EVERY_DAY}], timeZone: ../../etc/passwd}}",
            "schedule.timeZone: '../../etc/passwd' is no time zone known here",
        ),
    ],
)
def test_one_wrong_key(scaling: str, expected: str) -> None:
    (problem,) = problems(f"{HEAD}  scaling: {{{scaling}}}\n")
    assert problem.startswith(f"spec.scaling.{expected}")


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("", 'cost: has no amount; expected perMillionRequests: "4.00" or perHour: "2.50"'),
        ("whenExceeded: CapReplicas", "cost: has no amount; expected perMillionRequests:"),
        ("perHour: 4", 'cost.perHour: 4 needs quotes, as money has; write "4"'),
        ("perHour: '0.00'", "cost.perHour: '0.00' is no budget; expected more than 0"),
        ("perHour: '4 USD'", "cost.perHour: '4 USD' is no amount of money; expected digits such as"),
        ("perHour: '-4'", "cost.perHour: '-4' is no amount of money"),
        ("perHour: '4', whenExceeded: Stop", "cost.whenExceeded: 'Stop' is not one of Warn or CapReplicas"),
    ],
)
def test_one_wrong_cost(cost: str, expected: str) -> None:
    (problem,) = problems(f"{HEAD}  budget: {{cost: {{{cost}}}}}\n")
    assert problem.startswith(f"spec.budget.{expected}")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("currency: usd", "currency: 'usd' is no currency; expected three letters, as ISO 4217 has them: USD, EUR"),
        ("nodeClasses: [{name: a}]", "nodeClasses[0].pricePerHour: missing; expected what a node costs an hour"),
        ("nodeClasses: [{pricePerHour: '1'}]", "nodeClasses[0].name: missing"),
        (
            "nodeClasses: [{name: a, pricePerHour: '1'}, {name: a, pricePerHour: '2'}]",
            "nodeClasses[1].name: a is the name of nodeClasses[0] too; expected another",
        ),
        (
            "nodeClasses: [{name: a, pricePerHour: '1', minNodes: 3, maxNodes: 2}]",
            "nodeClasses[0].maxNodes: 2 is below minNodes; expected 3 or more",
        ),
        (
            "nodeClasses: [{name: a, pricePerHour: '1', idleWatts: 90, maxWatts: 80}]",
            "nodeClasses[0].maxWatts: 80 is below idleWatts; expected 90 or more",
        ),
        (
            "nodeClasses: [{name: a, pricePerHour: '1', capacity: {cpus: 3}}]",
            "nodeClasses[0].capacity.cpus: unknown key; did you mean cpu?",
        ),
        (
            "nodeClasses: [{name: a, pricePerHour: '1', capacity: {memory: '0'}}]",
            "nodeClasses[0].capacity.memory: '0' is out of range",
        ),
        ("nodeClasses: [{name: a, pricePerHour: '1', selector: {x: }}]", "nodeClasses[0].selector.x: expected text"),
    ],
)
def test_one_wrong_key_of_a_platform(spec: str, expected: str) -> None:
    (problem,) = problems(f"{PLATFORM}  {spec}\n")
    assert problem.removeprefix("service.yaml:5  ").startswith(f"spec.{expected}")


def test_a_budget_of_costs_needs_prices_on_every_backend() -> None:
    service = only(FRAUD)
    lines = ["spec.budget.cost: nothing has a price; write a Platform with nodeClasses"]
    assert not_honoured(service, "kubernetes") == lines
    assert lines[0] in not_honoured(service)
    assert not_honoured(service, "kubernetes", platform=platform(CPU)) == []
    assert not_honoured(service, "kubernetes", platform=platform(SMALL)) == [
        "spec.budget.cost: a replica fits on none of the platform's node classes, so it has no price"
    ]
    assert not_honoured(only(""), "kubernetes") == []


def test_a_laptop_has_no_nodes() -> None:
    (line,) = not_honoured(platform(CPU))
    assert line.startswith("spec.nodeClasses: a laptop has no nodes")
    assert not_honoured(platform(CPU), "kubernetes") == []


@pytest.mark.parametrize(
    "scaling",
    [
        "maxReplicas: 3",
        "policy: Fixed, minReplicas: 3",
        "policy: HPA, maxReplicas: 3",
        "policy: HPA, maxReplicas: 3, hpa: {metric: RequestsPerSecond, target: '12.5'}",
        "policy: KPA, maxReplicas: 3, kpa: {target: 8}",
        "policy: Schedule, schedule: {timeZone: Europe/Berlin, entries: [{cron: '0 8 * * mon-fri', replicas: 1}]}",
    ],
)
def test_what_the_file_says_is_a_policy(scaling: str) -> None:
    service = scaled(scaling)
    policy = named.make(policy_text(service), bounds_of(service))
    assert policy.name.partition(":")[0] == policy_text(service).partition(":")[0]
