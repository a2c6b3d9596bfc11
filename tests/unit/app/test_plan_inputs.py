"""What `plan` reads: service times, traces by service, profiles that don't fit, node classes."""

import pytest

from plimsoll.app.plan_inputs import (
    from_file,
    node_classes,
    parse_service_time,
    read_documents,
    read_platform,
    read_traces,
    told,
)
from plimsoll.core.errors import UserError
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import constant
from plimsoll.sim.nodes_kinds import Sizes
from plimsoll.sim.scenario import Service
from plimsoll.spec import ModelService

SERVICE = """apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model: {path: ./model.py}
  budget: {latency: {p99: 100ms}, cost: {perMillionRequests: "4.00"}}
  scaling: {minReplicas: 2, maxReplicas: 8, policy: HPA, spares: {count: 1}}
  resources: {requests: {cpu: "2", memory: 512Mi}}
  batching: {maxSize: 32}
"""
PLATFORM = """apiVersion: plimsoll.dev/v1alpha1
kind: Platform
metadata: {name: default}
spec:
  nodeClasses:
  - {name: cpu, pricePerHour: "0.80", capacity: {cpu: "16"}, provisioningTime: 3m, maxNodes: 4}
  - {name: whole, pricePerHour: "2.00"}
"""


@pytest.mark.parametrize(
    ("text", "a_s", "c_s", "spread"),
    [("4ms+1.5ms", 0.004, 0.0015, 0.2), ("4ms+1.5ms:30%", 0.004, 0.0015, 0.3), ("20ms", 0.02, 0.0, 0.2)],
)
def test_a_service_time_as_text(text, a_s, c_s, spread):
    found = parse_service_time(text)
    assert (found.a_s, found.c_s, found.spread) == pytest.approx((a_s, c_s, spread))


def test_a_lognormal_one_with_too_few_figures_says_which_are_expected():
    with pytest.raises(UserError, match="expected three figures: SHAPE,LOC,SCALE; write"):
        parse_service_time("lognorm:1,2")


def test_a_lognormal_one_is_of_single_requests():
    found = parse_service_time("lognorm:0.4225,79.3ms,68.6ms")
    assert found.lognormal.mean_s == pytest.approx(0.0793 + 0.0686 * 1.0933, rel=1e-4)
    assert found.max_batch == 1
    assert "one at a time" in told(found)


@pytest.mark.parametrize(
    "text", ["", "4", "4ms+x", "0s", "lognorm:1,2", "lognorm:0,1ms,1ms", "lognorm:a,1ms,1ms", "4ms:x"]
)
def test_what_is_no_service_time_says_how_to_write_one(text):
    with pytest.raises(UserError, match=r"write 4ms\+1.5ms"):
        parse_service_time(text)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "day.csv").write_text("period,count\n0,60\n60,120\n")
    (tmp_path / "night.csv").write_text("period,count\n0,6\n60,12\n")
    (tmp_path / "jobs.csv").write_text("minute,a,b\n0,60,6\n1,60,6\n")
    return lambda name: str(tmp_path / name)


def requests(found):
    return {name: round(trace.requests) for name, trace in found.items()}


def test_one_trace_is_everybodys_unless_a_service_has_its_own(files):
    assert requests(read_traces([files("day.csv")], ["a", "b"])) == {"a": 180, "b": 180}
    assert requests(read_traces([files("day.csv"), f"b={files('night.csv')}"], ["a", "b"])) == {"a": 180, "b": 18}


def test_columns_are_services(files):
    assert requests(read_traces([files("jobs.csv")], ["b", "a"])) == {"b": 12, "a": 120}
    assert requests(read_traces([files("jobs.csv")], [])) == {"a": 120, "b": 12}
    assert list(read_traces([files("day.csv")], [])) == ["service"]


@pytest.mark.parametrize(
    ("traces", "names", "message"),
    [
        (["jobs.csv"], ["mood"], "is of a, b; the services are mood"),
        (["a=day.csv"], ["a", "b"], "none for b; write --trace b=FILE"),
        (["day.csv", "night.csv"], ["a", "b"], "one for all services"),
        (["x=jobs.csv"], ["x"], "has a column for each service"),
        (["none.csv"], ["a"], "cannot be read: No such file"),
    ],
)
def test_a_trace_that_is_nobodys_or_missing_is_told(files, traces, names, message):
    parts = [text.rpartition("=") for text in traces]
    with pytest.raises(UserError) as error:
        read_traces([f"{name}{equals}{files(file)}" for name, equals, file in parts], names)
    assert message in str(error.value)


def test_made_up_traffic_needs_no_file():
    found = read_traces(["synthetic:mean=10,days=0.01,seed=3"], ["a"])
    assert found["a"].requests == pytest.approx(8640)


@pytest.fixture
def service(tmp_path):
    (tmp_path / "service.yaml").write_text(SERVICE)
    (tmp_path / "model.py").write_text("class Model: ...\n")
    return read_documents([str(tmp_path / "service.yaml")]).services[0]


def profile_at(tmp_path, **changed):
    (tmp_path / "mood.profile.json").write_text(
        Profile(**{"a_s": 0.004, "c_s": 0.0015, "name": "mood", **changed}).to_json()
    )


def test_a_service_of_a_file_with_its_bounds_needs_and_policy(service, tmp_path):
    profile_at(tmp_path)
    (tmp_path / "nodes.yaml").write_text(PLATFORM)
    platform = read_platform(str(tmp_path / "nodes.yaml"), None)
    found = from_file(service, platform, None, None)
    assert (found.bounds.least, found.bounds.most, found.bounds.max_batch) == (2, 8, 32)
    assert found.bounds.price_per_hour == pytest.approx(0.1)  # two of sixteen cores for 0.80
    assert found.own.startswith("hpa-cpu:target=")
    assert found.spares == 1
    assert found.needs == {"cpu": 2.0, "memory": 512 * 2**20, "replicas": 1.0}
    assert found.warnings == ()
    cpu, whole = node_classes(platform)
    assert (cpu.capacity["cpu"], cpu.provisioning_s, cpu.most) == (16.0, 180.0, 4)
    assert cpu.capacity["replicas"] == float("inf")
    assert whole.capacity["replicas"] == 1.0


GPUS = (
    PLATFORM.partition("spec:")[0]
    + """spec:
  nodeClasses:
  - {name: plain, pricePerHour: "0.80", capacity: {cpu: "16"}, provisioningTime: 3m, provisioningTimeP90: 5m,
     idleAfter: 2m, meanTimeBetweenFailures: 720h}
  - {name: h100, pricePerHour: "6.90", capacity: {cpu: "16", accelerators: 8}}
  acceleratorClasses:
  - {name: h100-1g, resourceName: nvidia.com/mig-1g.10gb, nodeClass: h100, share: "1/7"}
"""
)


def test_what_asks_for_an_accelerator_fits_where_it_is_alone(service, tmp_path):
    profile_at(tmp_path)
    (tmp_path / "nodes.yaml").write_text(GPUS)
    platform = read_platform(str(tmp_path / "nodes.yaml"), None)
    asks = ModelService.parse(
        service.dump() | {"spec": service.dump()["spec"] | {"accelerator": {"class": "h100-1g", "count": 2}}},
        service.origin,
    )
    found = from_file(asks, platform, None, None)
    plain, h100 = node_classes(platform)
    assert (plain.provisioning_p90_s, plain.idle_after_s, plain.mtbf_s) == (300.0, 120.0, 720 * 3600.0)
    assert (h100.provisioning_p90_s, h100.idle_after_s, h100.mtbf_s) == (None, 600.0, None)
    (wanted,) = found.needs.keys() - from_file(service, platform, None, None).needs.keys()
    assert found.needs[wanted] == pytest.approx(2 / 7)
    assert wanted not in plain.capacity
    one = Service(found.name, constant(1.0, 60.0), found.profile, found.bounds, needs=dict(found.needs))
    assert [kind.holds for kind in Sizes([one], [plain, h100], 1).kinds] == [(0,), (8,)]  # of cores, 2 of 16


def test_without_a_profile_the_command_that_makes_one_is_named(service):
    with pytest.raises(UserError) as error:
        from_file(service, None, None, None)
    assert "no profile of mood; learn it with: plimsoll profile" in str(error.value)
    assert from_file(service, None, None, parse_service_time("4ms+1ms")).profile.c_s == 0.001


@pytest.mark.parametrize(
    ("changed", "told_of"),
    [({"model": "0" * 12, "revision": "mood-1234567"}, "mood-1234567, and the model has changed since"),
     ({"name": "other"}, "learned from other, not from mood"),
     ({"max_batch": 16}, "saw batches of up to 16; batching.maxSize allows 32")],
)  # fmt: skip
def test_a_profile_that_may_not_fit_is_doubted(service, tmp_path, changed, told_of):
    profile_at(tmp_path, **changed)
    (warning,) = from_file(service, None, None, None).warnings
    assert told_of in warning


def test_nodes_without_classes_are_an_error(tmp_path):
    (tmp_path / "nodes.yaml").write_text(PLATFORM.partition("spec:")[0] + "spec: {}\n")
    with pytest.raises(UserError, match="has no nodeClasses"):
        read_platform(str(tmp_path / "nodes.yaml"), None)
