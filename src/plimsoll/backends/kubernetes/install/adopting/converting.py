"""The ModelService that takes the place of a Deployment, its Service and its autoscaler."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.install.adopting import pods
from plimsoll.backends.kubernetes.install.adopting.apps import Endpoint
from plimsoll.backends.kubernetes.install.adopting.autoscaling import GUESSED, scaling_of
from plimsoll.backends.kubernetes.install.adopting.choosing import Found
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj, without_empty

MOST_NAME = 52  # so that a revision's name, with its digest, still fits a label
_ENDINGS = ("-deployment", "-deploy", "-dep")
_NOT_OURS = ("app.kubernetes.io/", "helm.sh/", "kubectl.kubernetes.io/", "pod-template-hash", "plimsoll.dev/")


@dataclass(frozen=True, slots=True)
class Adopted:
    """`service`: a ModelService; `platform`: the accelerator class it needs, None without one or where the cluster has
    it. `image`: what ran before, `own_image`: what it is called with Plimsoll in it. `notes`: KEY: what a person should
    know."""

    service: Obj
    platform: Obj | None
    image: str
    own_image: str
    endpoint: Endpoint | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.service["metadata"]["name"])


def adopt(
    found: Found,
    *,
    name: str = "",
    endpoint: Endpoint | None = None,
    classes: Mapping[str, str] | None = None,
) -> Adopted:
    """`endpoint`: what the app serves, where its source is known. `classes`: accelerator classes that the cluster's
    platform has, by resource. Raises UserError where there is no container."""
    notes: list[str] = []
    workload = found.workload
    spec: Mapping[str, Any] = workload["spec"]["template"]["spec"]
    container = pods.main_container(spec, notes)
    name = name or name_of(str(workload["metadata"]["name"]))
    image = str(container.get("image", ""))
    env, special = pods.env_of(container, notes)
    service_spec: Obj = {
        "model": {"path": "./model"},
        "runtime": _runtime(container, image, env, notes),
        "routes": [{"path": endpoint.path if endpoint is not None else f"/{name}"}],
        "scaling": _scaling(found, container, notes),
        "resources": pods.resources_of(container, notes),
    }
    _guess(service_spec)
    platform = _accelerator(service_spec, container, classes or {}, notes)
    template = pods.pod_template(workload, container, special, notes)
    if template:
        service_spec["podTemplate"] = template
    if workload["kind"] == "StatefulSet":
        service_spec["workload"] = "StatefulSet"
        if workload["spec"].get("volumeClaimTemplates"):
            notes.append(
                "volumeClaims: write those of the StatefulSet; a claim keeps its data only under the same name"
            )
    _about_services(found, name, notes)
    _about_app(container, endpoint, name, notes)
    meta: Obj = {"name": name}
    if workload["metadata"].get("namespace"):
        meta["namespace"] = workload["metadata"]["namespace"]
    labels = {
        key: value for key, value in (workload["metadata"].get("labels") or {}).items() if not key.startswith(_NOT_OURS)
    }
    made = {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "metadata": meta | ({"labels": labels} if labels else {}),
        "spec": without_empty(service_spec),
    }
    return Adopted(made, platform, image, own_image(image), endpoint, tuple(dict.fromkeys(notes)))


def name_of(workload: str) -> str:
    """`sentiment-inference-deployment` to `sentiment-inference`."""
    for ending in _ENDINGS:
        if workload.endswith(ending) and len(workload) > len(ending):
            workload = workload.removesuffix(ending)
    return workload.replace(".", "-")[:MOST_NAME].strip("-")


def own_image(image: str) -> str:
    """Where the image with Plimsoll in it goes: beside the old one, with a tag of its own."""
    bare, _, _ = image.partition("@")
    host, slash, last = bare.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{host}{slash}{repository}:{tag or 'latest'}-plimsoll"[:512] if bare else ""


def _runtime(container: Mapping[str, Any], image: str, env: list[Obj], notes: list[str]) -> Obj:
    runtime: Obj = {"image": own_image(image)} if image else {}
    notes.append(
        f"runtime.image: {image} brings its own server; the Dockerfile beside this file adds Plimsoll to it (with "
        "Python 3.11 or newer): docker build, docker push"
    )
    if image and "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
        notes.append(f"runtime.image: {image} can change at any time; pin the base by a version or a digest")
    waits = pods.load_timeout_s(container)
    if waits > 60:
        runtime["loadTimeout"] = f"{waits}s"
    if env:
        runtime["env"] = env
    if any(container.get(probe) for probe in ("readinessProbe", "livenessProbe", "startupProbe")):
        notes.append("probes: the server brings its own; how long starting may take is runtime.loadTimeout")
    return runtime


def _scaling(found: Found, container: Mapping[str, Any], notes: list[str]) -> Obj:
    if found.autoscaler is not None:
        requests = dict((container.get("resources") or {}).get("requests") or {})
        limits = (container.get("resources") or {}).get("limits") or {}
        return scaling_of(found.autoscaler, {**limits, **requests}, notes)
    count = int(found.workload["spec"].get("replicas", 1))
    if count == 0:
        notes.append("scaling.minReplicas: the Deployment was scaled to 0; 1 here")
    notes.append("scaling: no autoscaler; write maxReplicas and a budget, and the count follows the load")
    return {"minReplicas": max(1, count)}


def _guess(spec: Obj) -> None:
    """Shares are of requests: what an autoscaler looks at must have one."""
    hpa = spec["scaling"].get("hpa") or {}
    needed = (["cpu"] if hpa.get("metric") == "CPU" else []) + (["memory"] if "memoryTarget" in hpa else [])
    written = spec["resources"]
    for resource in needed:
        if resource not in {**written.get("limits", {}), **written.get("requests", {})}:
            written.setdefault("requests", {})[resource] = GUESSED[resource]


def _accelerator(spec: Obj, container: Mapping[str, Any], classes: Mapping[str, str], notes: list[str]) -> Obj | None:
    devices = pods.accelerators_of(container)
    if not devices:
        return None
    resource, count = next(iter(devices.items()))
    known = classes.get(resource)
    spec["accelerator"] = {"class": known or pods.class_name(resource), "count": count}
    for other in list(devices)[1:]:
        notes.append(f"accelerator: {other} is left out; a service has one class: write it into podTemplate")
    if known:
        return None
    notes.append(
        f"accelerator.class: {pods.class_name(resource)} is a class of the Platform, which is the platform team's"
    )
    accelerator = {"name": pods.class_name(resource), "resourceName": resource}
    return {
        "apiVersion": API_VERSION,
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"acceleratorClasses": [accelerator]},
    }


def _about_services(found: Found, name: str, notes: list[str]) -> None:
    for one in found.services:
        old, spec = one["metadata"]["name"], one.get("spec") or {}
        port = next((each.get("port") for each in spec.get("ports") or []), None)
        notes.append(
            f"service: who calls http://{old}:{port} calls http://{name}:80 of the same namespace, or the gateway"
        )
        if spec.get("type") in ("LoadBalancer", "NodePort"):
            notes.append(
                f"service: {old} is a {spec['type']}; from outside it is the gateway's Service or a Platform's host"
            )
        if spec.get("sessionAffinity") == "ClientIP":
            notes.append("sessionAffinity: by the client's address isn't known here; by a header or a cookie is")


def _about_app(container: Mapping[str, Any], endpoint: Endpoint | None, name: str, notes: list[str]) -> None:
    command = " ".join(str(part) for part in [*(container.get("command") or []), *(container.get("args") or [])])
    if command:
        notes.append(f"command: {command!r} started the app's own server and isn't used any more")
    if endpoint is None:
        module = re.search(r"\b([A-Za-z_][A-Za-z0-9_.]*):[A-Za-z_]\w*", command)
        hint = f" (its module is {module[1]})" if module else ""
        notes.append(f"model: put the app's code into model/model.py, or let it be written: --app FILE.py{hint}")
        notes.append(f"routes: /{name} is a guess; write the path that clients call")
    notes.append(
        "model: replicas connect to DNS and their model's store alone: what load() downloads, as pipeline() does, must "
        "be in the image"
    )
    notes.append("budget: none is known; write one, such as latency: {p99: 200ms}, and plimsoll load says if it holds")
