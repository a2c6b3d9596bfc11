"""Conditions: one row for each thing that can be wrong, with the words that a person reads."""

from dataclasses import replace

import pytest
from tests.unit.backends.kubernetes.operator.cluster import service

from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.operator.judging import Look, blinded, judged, refusal
from plimsoll.backends.kubernetes.operator.rolling import Phase, Roll
from plimsoll.backends.kubernetes.operator.seen import Figures, Node, Owned, Pod, Seen, ServiceKey, Trouble, Workload
from plimsoll.backends.kubernetes.operator.wanting import Problem, Wish, understood
from plimsoll.backends.kubernetes.options import ClusterOptions, Mode

NEW, OLD = "mood-b", "mood-a"
WISH = Wish(1, revision=NEW, first=2, url="http://mood", p99_s=0.1, p95_s=0.05, error_rate=0.001)
NODES = (
    Node("cpu-1", (("cpu", "4"), ("memory", "16Gi"))),
    Node("gpu-1", (("cpu", "8"), ("nvidia.com/gpu", "1")), taints=("nvidia.com/gpu",)),
)


def ready(name, count):
    return [Pod(f"{name}-{index}", name, ready=True) for index in range(count)]


def workload(name, replicas=2, serving=0, **more):
    return Workload(name, "Deployment", replicas, replicas, serving, **more)


def conditions(seen, phase=Phase.STEADY, wish=WISH, target=NEW, total=2, refused=None):
    found = judged(Look(seen, wish, Roll((), target, total, phase), refused))
    return {str(one.type): one for one in found}


def starting(pod, **more):
    """The Ready condition while the only pod is `pod`."""
    seen = Seen(service(), [workload(NEW, 1)], [pod], **more)
    return conditions(seen, total=1)["Ready"]


def test_all_is_well():
    found = conditions(Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2), figures=Figures(within_budget=True)))
    assert {name: one.word for name, one in found.items()} == {
        "Ready": "True",
        "ModelLoaded": "True",
        "RouteReady": "True",
        "CapacityAvailable": "True",
        "WithinBudget": "True",
    }
    assert found["Ready"].message == "2 of 2 replicas are ready"
    assert found["WithinBudget"].message == "latency and errors are inside the budget"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (WISH, "latency and errors are inside the budget"),
        (replace(WISH, costs=True), "latency, errors and cost are inside the budget"),
        (Wish(1, revision=NEW, p50_s=0.1), "latency is inside the budget"),
        (Wish(1, revision=NEW, error_rate=0.1), "errors are inside the budget"),
        (Wish(1, revision=NEW, costs=True), "cost is inside the budget"),
        (Wish(1, revision=NEW), "nothing is budgeted"),
    ],
)
def test_what_is_not_budgeted_is_not_spoken_of(wish, words):
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2), figures=Figures(within_budget=True))
    assert conditions(seen, wish=wish)["WithinBudget"].message == words


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (
            Pod("p", NEW, False, trouble=Trouble.IMAGE, image="mood:7", words='Back-off pulling image "mood:7"'),
            Reason.IMAGE_PULL_FAILED,
            "the image mood:7 can't be pulled; check its name",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.IMAGE, image="mood:7", words="ErrImagePull: 403 denied"),
            Reason.IMAGE_PULL_FAILED,
            "can't be pulled: 403 denied; check its name",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.CONFIG, words='secret "redis-url" not found'),
            Reason.SECRET_MISSING,
            "p waits for the Secret redis-url, which does not exist; create it: kubectl create secret generic redis",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.CONFIG, words="couldn't find key url in Secret shop/redis-url"),
            Reason.SECRET_MISSING,
            "the Secret redis-url has no key url",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.FETCH, words="sha256 differs\nat byte 7"),
            Reason.MODEL_FETCH_FAILED,
            "the model can't be fetched: sha256 differs at byte 7; check spec.model.uri",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.CRASH, words="model.py:14 SyntaxError: expected ':'", exit_code=3),
            Reason.MODEL_FAILED,
            "p: model.py:14 SyntaxError: expected ':'",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.CRASH, exit_code=139),
            Reason.CRASH_LOOPING,
            "p: exits with 139; see: kubectl logs -n shop p --previous",
        ),
        (
            Pod("p", NEW, False, trouble=Trouble.MEMORY, exit_code=137),
            Reason.CRASH_LOOPING,
            "p was ended at its memory limit; raise spec.resources.limits.memory",
        ),
    ],
)
def test_what_keeps_a_pod_from_serving(pod, reason, words):
    found = starting(pod)
    assert (found.status, found.reason) == (False, reason)
    assert words in found.message


def test_a_volume_whose_secret_is_missing_is_known_from_the_kubelets_event_alone():
    words = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
    found = starting(Pod("p", NEW, False), mounts={"p": words})
    assert found.reason is Reason.SECRET_MISSING
    assert "the Secret keys" in found.message


def test_unschedulable_says_which_resource_on_which_nodes():
    words = (
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {nvidia.com/gpu: }. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    wants = (("cpu", "1"), ("nvidia.com/gpu", "1"))
    pod = Pod("p", NEW, False, scheduled=False, trouble=Trouble.UNSCHEDULABLE, words=words, wants=wants)
    seen = Seen(service(), [workload(NEW, 1)], [pod], nodes=NODES)
    found = conditions(seen, total=1)
    assert found["Ready"].reason is Reason.UNSCHEDULABLE
    capacity = found["CapacityAvailable"]
    assert capacity.status is False
    assert capacity.message == (
        "no node has room for p: nvidia.com/gpu: 1 is wanted, in use on gpu-1, none on cpu-1; untolerated taint "
        "nvidia.com/gpu on gpu-1 (podTemplate.spec.tolerations)"
    )


@pytest.mark.parametrize(
    ("words", "wants", "nodes", "said"),
    [
        (
            "0/2: 2 Insufficient cpu.",
            (("cpu", "6"),),
            NODES,
            "cpu: 6 is wanted, in use on gpu-1, too small are cpu-1 (4)",
        ),
        ("0/1: 1 Insufficient x.com/npu.", (("x.com/npu", "1"),), NODES, "no node offers it (cpu-1, gpu-1)"),
        ("0/1: 1 Insufficient memory.", (("memory", "1Gi"),), (), "memory: 1Gi is wanted"),
        ("0/3: 3 node(s) didn't match Pod's node affinity/selector.", (), NODES, "don't match its node selector"),
        ("0/0 nodes are available.", (), (), "no node has room for p: 0/0 nodes are available."),
    ],
)
def test_other_reasons_for_no_room(words, wants, nodes, said):
    pod = Pod("p", NEW, False, scheduled=False, trouble=Trouble.UNSCHEDULABLE, words=words, wants=wants)
    assert said in conditions(Seen(service(), [workload(NEW, 1)], [pod], nodes=nodes))["CapacityAvailable"].message


def test_a_quota_is_told_as_capacity():
    failed = workload(NEW, 3, failure='pods "x" is forbidden: exceeded quota: team, requested: pods=1')
    found = conditions(Seen(service(), [failed]), total=3)
    assert found["CapacityAvailable"].reason is Reason.QUOTA_EXCEEDED
    assert "exceeded quota: team" in found["Ready"].message


def test_a_failed_revision_leaves_ready_true_and_says_why():
    crashing = Pod("p", NEW, False, trouble=Trouble.CRASH, words="no module named x", exit_code=3)
    seen = Seen(service(), [workload(OLD, 2, 2), workload(NEW, 1)], [*ready(OLD, 2), crashing])
    found = conditions(seen, Phase.FAILED, target=OLD)
    assert (found["Ready"].status, found["Ready"].reason) == (True, Reason.REVISION_FAILED)
    assert found["Ready"].message == "mood-b does not get ready and mood-a serves on: p: no module named x"
    assert (found["ModelLoaded"].status, found["ModelLoaded"].reason) == (False, Reason.MODEL_FAILED)


def test_rolling_out_counts_the_new_ones():
    seen = Seen(service(), [workload(OLD, 2, 2), workload(NEW, 2, 1)], [*ready(OLD, 2), *ready(NEW, 1)])
    found = conditions(seen, Phase.ROLLING)["Ready"]
    assert (found.status, found.reason, found.message) == (True, Reason.ROLLING_OUT, "1 of 2 replicas are mood-b")


def test_scaled_to_zero_is_ready():
    found = conditions(Seen(service(), [workload(NEW, 0)]), total=0)
    assert (found["Ready"].status, found["Ready"].reason) == (True, Reason.SCALED_TO_ZERO)
    assert found["ModelLoaded"].word == "Unknown"


@pytest.mark.parametrize("serves", [True, False])
def test_a_wrong_spec_says_so_and_ready_says_whether_anything_serves(serves):
    wish = Wish(2, Problem(Reason.MODEL_NOT_PACKED, "spec.model.path: pack it: plimsoll pack mood.yaml"))
    pods = ready(OLD, 1) if serves else []
    seen = Seen(service(scaleTarget=OLD), [workload(OLD, 1, int(serves))] if serves else [], pods)
    found = conditions(seen, Phase.HELD, wish, target=OLD)["Ready"]
    assert (found.status, found.reason) == (serves, Reason.MODEL_NOT_PACKED)
    assert found.message.startswith("spec.model.path: pack it: plimsoll pack mood.yaml")


def test_routes_wait_for_a_gateway_and_may_be_refused():
    key = ServiceKey("shop", "mood")
    serving = {"workloads": [workload(NEW, 2, 2)], "pods": ready(NEW, 2)}
    waiting = conditions(Seen(service(), **serving, routes=[Owned(key, "", "1", accepted=None)]))["RouteReady"]
    assert (waiting.status, waiting.reason) == (False, Reason.GATEWAY_MISSING)
    refused = Owned(key, "", "1", accepted=False, words="no listener has this host")
    found = conditions(Seen(service(), **serving, routes=[refused]))
    assert found["RouteReady"].message == "no listener has this host"
    assert found["Ready"].status is True


@pytest.mark.parametrize(
    ("figures", "reason", "words"),
    [
        (None, Reason.NO_METRICS, "the controller says nothing"),
        (Figures(), Reason.NO_METRICS, "no request yet"),
        (Figures(p99_s=0.18, within_budget=False), Reason.LATENCY, "p99 is 180ms, 100ms is allowed"),
        (Figures(error_rate=0.02, within_budget=False), Reason.ERRORS, "2.00% of requests failed, 0.10% are allowed"),
        (Figures(within_budget=False, reason="cost of 5.20 a million is over 4.00"), Reason.COST, "over 4.00"),
    ],
)
def test_budgets(figures, reason, words):
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2), figures=figures)
    found = conditions(seen)
    assert found["WithinBudget"].reason is reason
    assert words in found["WithinBudget"].message
    assert found["Ready"].status is True


def test_an_hpa_without_its_metric_keeps_its_count_and_says_so():
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2), scaler="unable to get external metric")
    assert conditions(seen)["Ready"].message.endswith("the HPA keeps its last count: unable to get external metric")


@pytest.mark.parametrize(
    ("code", "message", "reason", "words"),
    [
        (
            403,
            'services is forbidden: User "o" cannot patch resource "services" in API group "" in the namespace "shop"',
            Reason.FORBIDDEN,
            "the operator may not patch services; add the verb patch on services to the ClusterRole plimsoll-operator",
        ),
        (
            403,
            "x is forbidden: unable to create new content in namespace shop because it is being terminated",
            Reason.TERMINATING,
            "the namespace is being deleted",
        ),
        (403, "exceeded quota: team", Reason.QUOTA_EXCEEDED, "exceeded quota: team"),
        (403, "violates PodSecurity", Reason.FORBIDDEN, "can't apply Service mood: violates PodSecurity"),
        (422, "spec.ports[0].port: Invalid value: 0", Reason.APPLY_FAILED, "can't apply Service mood: spec.ports[0]"),
    ],
)
def test_refusals_of_the_api_server(code, message, reason, words):
    found = refusal(code, "", message, doing="apply Service mood")
    assert found.reason is reason
    assert words in found.message


def test_who_sees_nothing_says_only_that():
    (found,) = blinded(Problem(Reason.FORBIDDEN, "pods may not be watched"))
    assert (found.word, found.reason) == ("Unknown", Reason.FORBIDDEN)


def test_a_traceback_is_for_the_log_and_the_condition_says_where():
    words = "model.py:14: RuntimeError: no\nTraceback (most recent call last, the model's own files only):\n  File …"
    message = starting(Pod("p", NEW, False, trouble=Trouble.CRASH, words=words, exit_code=3)).message
    assert message == "p: model.py:14: RuntimeError: no"


def test_a_packed_model_that_was_deleted_comes_back_with_its_file():
    seen = Seen(service(), [workload(NEW, 1)], [Pod("p", NEW, False)], mounts={"p": 'configmap "m-model-1" not found'})
    message = conditions(seen, total=1)["Ready"].message
    assert message.startswith("p waits for the ConfigMap m-model-1, which does not exist")
    assert "plimsoll apply FILE" in message


def test_a_metric_that_nobody_serves_names_the_setting():
    said = "unable to get external metric: the server could not find the requested resource"
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2), scaler=said)
    assert conditions(seen)["Ready"].message.endswith("--set metricsApis.external=true")


def test_what_the_cluster_lacks_is_said_while_it_serves():
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2))
    assert conditions(seen, wish=replace(WISH, note="KEDA lacks"))["Ready"].message.endswith("; KEDA lacks")


def test_an_address_that_namespaces_share_comes_with_the_host():
    seen = Seen(service(), [workload(NEW, 2, 2)], ready(NEW, 2))
    key = seen.service.key
    message = conditions(seen, wish=replace(WISH, url=f"http://gw/v2/models/{key.name}"))["RouteReady"].message
    assert message == f"reached at http://gw/v2/models/{key.name}, by the host {key.name}.{key.namespace}"
    assert conditions(seen)["RouteReady"].message == "reached at http://mood"


@pytest.mark.parametrize(("apis", "said"), [((), "KEDA, which is not installed"), (("keda.sh/v1alpha1",), "")])
def test_a_writer_that_is_not_there_is_noted(apis, said):
    model = {"uri": "oci://registry.example/mood:1", "digest": "sha256:" + "0" * 64, "format": "Python"}
    spec = {"model": model, "budget": {"latency": {"p99": "100ms"}}, "scaling": {"writer": "KEDA", "maxReplicas": 3}}
    options = ClusterOptions(mode=Mode.OPERATOR, apis=frozenset(apis))
    wish = understood(replace(service(), spec=spec), None, options).wish
    assert wish.problem is None
    assert said in wish.note
    assert bool(wish.note) == bool(said)
