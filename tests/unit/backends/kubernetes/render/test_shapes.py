"""Rendered objects against Kubernetes' own schemas and its `restricted` Pod Security level."""

import dataclasses

import pytest
from tests.unit.backends.kubernetes.render.cases import CASES

from plimsoll.backends.kubernetes.objects import key_of
from plimsoll.backends.kubernetes.options import NEWEST_MINOR, OLDEST_MINOR, Mode
from plimsoll.backends.kubernetes.render.restricted import violations
from plimsoll.spec import load_all_text

kubernetes_validate = pytest.importorskip("kubernetes_validate")

MINORS = range(OLDEST_MINOR, NEWEST_MINOR + 1)
# Kinds of others: their own definitions check them, in the cluster suite.
FOREIGN = {"HTTPRoute", "ReferenceGrant", "ScaledObject", "PodMonitor", "ServiceMonitor"}


def all_modes(case):
    return [dataclasses.replace(case, mode=mode) for mode in Mode]


@pytest.mark.parametrize("minor", MINORS)
def test_every_built_in_kind_has_the_shape_of_each_minor(minor):
    have = kubernetes_validate.utils.all_versions()
    if f"1.{minor}" not in have and f"1.{minor}.0" not in have:
        pytest.skip(f"kubernetes-validate {kubernetes_validate.__version__} has no schemas of 1.{minor}")
    checked = set()
    for name, case in CASES.items():
        for one in all_modes(dataclasses.replace(case, minor=minor)):
            for obj in one.rendered().objects:
                if obj["kind"] in FOREIGN:
                    continue
                kubernetes_validate.validate(obj, f"1.{minor}", strict=True)
                checked.add(f"{obj['apiVersion']} {obj['kind']}")
                assert len(key_of(obj).name) <= 63 or obj["kind"] == "Ingress", name
    print(f"1.{minor}: {', '.join(sorted(checked))}")
    assert len(checked) >= 11


def pods(rendered):
    return [obj["spec"]["template"]["spec"] for obj in rendered.objects if obj["kind"] in {"Deployment", "StatefulSet"}]


@pytest.mark.parametrize("name", CASES)
def test_pods_pass_the_restricted_level(name):
    for case in all_modes(CASES[name]):
        rendered = case.rendered()
        found = [line for pod in pods(rendered) for line in violations(pod)]
        if name == "mig" and case.mode is Mode.OPERATOR:  # its platform keeps models in a folder of the nodes
            assert found == ["volumes: model-cache is a hostPath"]
            assert any("hostPath" in line for line in rendered.notes)
        else:
            assert found == []


@pytest.mark.parametrize("name", CASES)
def test_pods_have_no_token_and_end_after_their_requests(name):
    for case in all_modes(CASES[name]):
        for pod in pods(case.rendered()):
            assert pod["automountServiceAccountToken"] is False
            main = next(one for one in pod["containers"] if one["name"] == "model")
            sleep = main["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod["terminationGracePeriodSeconds"] > sleep + longest_s(case)
            assert main["securityContext"]["readOnlyRootFilesystem"] is True


def longest_s(case):
    """The longest that a request of its service may take in a replica."""
    (service,) = load_all_text(case.text).services
    return max(service.timeout_s, service.predict_timeout_s)


def test_cases_differ_in_how_long_requests_take():
    assert len({longest_s(case) for case in CASES.values()}) > 2


def test_what_the_restricted_level_refuses():
    pod = pods(CASES["plain"].rendered())[0]
    assert violations(pod) == []
    main = pod["containers"][0]
    worse = [
        pod | {"hostNetwork": True},
        pod | {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        pod | {"securityContext": {}},
        pod | {"securityContext": pod["securityContext"] | {"runAsUser": 0}},
        pod | {"securityContext": pod["securityContext"] | {"sysctls": [{"name": "kernel.msgmax"}]}},
        *(
            pod | {"containers": [main | {"securityContext": main["securityContext"] | change}]}
            for change in (
                {"privileged": True},
                {"allowPrivilegeEscalation": True},
                {"runAsNonRoot": False},
                {"runAsUser": 0},
                {"capabilities": {}},
                {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
                {"seccompProfile": {"type": "Unconfined"}},
                {"procMount": "Unmasked"},
            )
        ),
        pod | {"containers": [main | {"ports": [{"containerPort": 1, "hostPort": 1}]}]},
        pod | {"initContainers": [{"name": "bare"}]},
    ]
    for one in worse:
        assert violations(one), one


def test_a_selector_selects_its_own_pods():
    for name, case in CASES.items():
        for one in all_modes(case):
            objects = one.rendered().objects
            workload = next(obj for obj in objects if obj["kind"] in {"Deployment", "StatefulSet"})
            labels = workload["spec"]["template"]["metadata"]["labels"].items()
            assert workload["spec"]["selector"]["matchLabels"].items() <= labels
            for obj in objects:
                selector = obj["spec"].get("selector") or obj["spec"].get("podSelector") if "spec" in obj else None
                if obj["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
                    assert (selector.get("matchLabels") or selector).items() <= labels, (name, obj["kind"])
