"""What a tutorial made, in the shapes it comes in, to a service that means the same."""

import ast
import copy

import pytest

from plimsoll.backends.kubernetes.install.adopting import adopt, choose, files_of
from plimsoll.backends.kubernetes.install.adopting.apps import class_name, endpoints, model_source, request_of
from plimsoll.backends.kubernetes.install.adopting.converting import name_of, own_image
from plimsoll.backends.kubernetes.install.adopting.writing import whole_text
from plimsoll.core.errors import UserError
from plimsoll.spec import ModelService, load_all_text

CONTAINER = {"name": "c", "image": "registry.example.com/mood:3", "ports": [{"containerPort": 80}]}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "mood-deployment"},
    "spec": {
        "replicas": 2,
        "template": {
            "metadata": {"labels": {"app": "mood"}},
            "spec": {"containers": [CONTAINER]},
        },
    },
}  # fmt: skip


def deployment(name="mood-deployment", pod=None, **container):
    made = copy.deepcopy(DEPLOYMENT)
    made["metadata"]["name"] = name
    made["spec"]["template"]["spec"]["containers"][0] |= container
    made["spec"]["template"]["spec"] |= pod or {}
    return made


def hpa(name="mood-hpa", target="mood-deployment", **spec):
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}, "maxReplicas": 10} | spec,
    }


def resource(name, **target):
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def pods_metric(name, value):
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def converted(*objects, **options):
    adopted = adopt(choose(list(objects)), **options)
    ModelService.parse(adopted.service)  # whatever comes out is valid
    assert load_all_text(whole_text(adopted)).services[0].name == adopted.name
    return adopted


def scaling(*objects):
    return converted(*objects).service["spec"]["scaling"]


CPU = {"requests": {"cpu": "500m", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"targetCPUUtilizationPercentage": 50}, {"metric": "CPU", "target": "50%"}),
        ({"metrics": [resource("cpu", averageUtilization=50)]}, {"metric": "CPU", "target": "50%"}),
        ({"metrics": [resource("cpu", averageValue="250m")]}, {"metric": "CPU", "target": "50%"}),
        ({"metrics": [resource("cpu", averageUtilization=150)]}, {"metric": "CPU", "target": "100%"}),
        (
            {"metrics": [resource("cpu", averageUtilization=50), resource("memory", averageUtilization=60)]},
            {"metric": "CPU", "target": "50%", "memoryTarget": "60%"},
        ),
        (
            {"metrics": [resource("memory", averageValue="512Mi")]},
            {"metric": "CPU", "target": "70%", "memoryTarget": "50%"},
        ),
        ({"metrics": [pods_metric("requests_per_second", "10")]}, {"metric": "RequestsPerSecond", "target": "10"}),
        ({"metrics": [pods_metric("http_requests", "500m")]}, {"metric": "RequestsPerSecond", "target": "0.5"}),
        ({"metrics": [pods_metric("queue_length", "30")]}, None),
    ],
)
def test_an_autoscaler_keeps_its_metrics(spec, wanted):
    found = scaling(deployment(resources=CPU), hpa(**spec))
    assert found.get("hpa") == wanted
    assert (found["policy"], found["writer"], found["minReplicas"], found["maxReplicas"]) == ("HPA", "HPA", 1, 10)


def test_an_autoscaler_that_never_worked_is_told():
    """A share of a request that isn't there: the usual tutorial."""
    adopted = converted(deployment(), hpa(metrics=[resource("cpu", averageUtilization=50)]))
    assert adopted.service["spec"]["resources"] == {"requests": {"cpu": "1"}}
    assert any("never had a share of it" in note for note in adopted.notes)
    assert not any("the Deployment has none; measure" in note for note in adopted.notes), "said already"


def test_bounds_and_windows_of_an_autoscaler():
    found = scaling(
        deployment(resources=CPU),
        hpa(minReplicas=0, behavior={"scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{}]}}),
    )
    assert found["minReplicas"] == 1
    assert found["scaleDown"] == {"stabilizationWindow": "60s"}


def test_without_an_autoscaler_the_count_stays():
    assert scaling(deployment()) == {"minReplicas": 2}


def test_gpus_become_a_class_of_the_platform():
    adopted = converted(deployment(resources={"limits": {"nvidia.com/gpu": 1}}))
    assert adopted.service["spec"]["accelerator"] == {"class": "gpu", "count": 1}
    assert adopted.platform["spec"]["acceleratorClasses"] == [{"name": "gpu", "resourceName": "nvidia.com/gpu"}]
    sliced = converted(deployment(resources={"limits": {"nvidia.com/mig-1g.10gb": "2"}}))
    assert sliced.service["spec"]["accelerator"] == {"class": "mig-1g-10gb", "count": 2}


def test_a_class_that_the_platform_has_is_taken_by_its_name():
    objects = choose([deployment(resources={"limits": {"nvidia.com/gpu": 1}})])
    adopted = adopt(objects, classes={"nvidia.com/gpu": "h100"})
    assert adopted.service["spec"]["accelerator"] == {"class": "h100", "count": 1}
    assert adopted.platform is None


def test_what_has_no_key_goes_into_the_pod_template():
    adopted = converted(
        deployment(
            pod={
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "volumes": [{"name": "cache", "emptyDir": {}}],
                "terminationGracePeriodSeconds": 5,
            },
            volumeMounts=[{"name": "cache", "mountPath": "/cache"}],
            env=[
                {"name": "A", "value": "1"},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "POD_IP", "value": "x"},
            ],
        )
    )
    template = adopted.service["spec"]["podTemplate"]["spec"]
    assert template["nodeSelector"] == {"disk": "ssd"}
    assert template["tolerations"][0]["key"] == "gpu"
    own = template["containers"][0]
    assert (own["name"], own["volumeMounts"][0]["name"], own["env"][0]["name"]) == ("model", "cache", "NODE")
    assert "terminationGracePeriodSeconds" not in template
    assert adopted.service["spec"]["runtime"]["env"] == [{"name": "A", "value": "1"}]
    assert any("POD_IP is the server's own" in note for note in adopted.notes)


def test_sidecars_come_along_and_the_listening_container_is_the_model():
    made = deployment()
    made["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "registry.example.com/proxy:1"})
    template = converted(made).service["spec"]["podTemplate"]["spec"]
    assert [one["name"] for one in template["containers"]] == ["proxy"]


def test_what_an_api_server_filled_in_is_nobodys_wish():
    made = deployment(pod={"schedulerName": "default-scheduler", "initContainers": [{"name": "a", "image": "x:1"}]})
    spec = made["spec"]["template"]["spec"]
    spec["containers"].insert(0, {"name": "proxy", "image": "registry.example.com/proxy:1"})
    wanted = converted(copy.deepcopy(made)).service
    filled = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}}
    for one in (spec["initContainers"][0], spec["containers"][0]):
        one.update(filled)
    assert converted(made).service == wanted
    assert "schedulerName" not in wanted["spec"]["podTemplate"]["spec"]
    own = converted(deployment(pod={"schedulerName": "binpack"})).service["spec"]["podTemplate"]["spec"]
    assert own == {"schedulerName": "binpack"}


def test_slow_starts_keep_their_time():
    slow = converted(deployment(startupProbe={"periodSeconds": 10, "failureThreshold": 30}))
    assert slow.service["spec"]["runtime"]["loadTimeout"] == "300s"
    assert (
        "loadTimeout" not in converted(deployment(livenessProbe={"initialDelaySeconds": 10})).service["spec"]["runtime"]
    )


@pytest.mark.parametrize(
    ("image", "own"),
    [
        ("mood", "mood:latest-plimsoll"),
        ("registry.example.com:5000/a/mood:1.2", "registry.example.com:5000/a/mood:1.2-plimsoll"),
        (f"mood@sha256:{'a' * 64}", "mood:latest-plimsoll"),
    ],
)
def test_the_image_with_the_server_in_it_has_a_name_of_its_own(image, own):
    assert own_image(image) == own
    ModelService.parse(adopt(choose([deployment(image=image)])).service)


@pytest.mark.parametrize(
    ("workload", "name"), [("mood-deployment", "mood"), ("mood", "mood"), ("a" * 70, "a" * 52), ("x.y-deploy", "x-y")]
)
def test_names(workload, name):
    assert name_of(workload) == name


def test_what_belongs_together():
    service = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"app": "mood"}}}
    other = {"kind": "Service", "metadata": {"name": "t"}, "spec": {"selector": {"app": "x"}}}
    found = choose([hpa("h"), hpa("g", target="elsewhere"), deployment(), service, other])
    assert (found.autoscaler["metadata"]["name"], [one["metadata"]["name"] for one in found.services]) == ("h", ["s"])


@pytest.mark.parametrize(
    ("objects", "wanted", "told"),
    [
        ([], [], "no Deployment to adopt"),
        ([deployment(), deployment("b")], [], "deployment/mood-deployment or deployment/b"),
        ([deployment()], ["deployment/c"], "no Deployment c; there: mood-deployment"),
        ([deployment(), hpa(target="x")], ["hpa/mood-hpa"], "hpa/mood-hpa scales Deployment/x"),
        ([deployment(), hpa("a"), hpa("b")], [], "2 autoscalers scale mood-deployment; name one: hpa/a"),
        ([deployment(), hpa("a"), hpa("a")], ["hpa/a"], "all are called a: give the file of one alone"),
        ([deployment()], ["pod/x"], "expected deployment/NAME"),
        ([deployment()], ["mood"], "expected deployment/NAME"),
    ],
)
def test_choices_that_only_a_person_can_make(objects, wanted, told):
    with pytest.raises(UserError) as caught:
        choose(objects, wanted)
    assert told in str(caught.value)


FASTAPI = '''
from fastapi import FastAPI
from pydantic import BaseModel
class Ask(BaseModel):
    text: str
    words: list[str]
    most: int = 3
app = FastAPI()
@app.get("/")
def home(): ...
@app.post("/ask")
async def ask(given: Ask): ...
@app.post("/more")
def more(body: dict): ...
'''  # fmt: skip


def test_the_function_behind_a_route_is_found_without_running_anything():
    first, second = endpoints(FASTAPI, "app")
    assert (first.function, first.path, first.model, first.is_async) == ("ask", "/ask", "Ask", True)
    assert request_of(first) == {"text": "what a lovely day", "words": ["what a lovely day"], "most": 1}
    assert (second.function, second.model, second.parameter) == ("more", "", "body")
    flask = endpoints('@app.route("/p", methods=["POST"])\ndef p():\n  return 1\n@app.route("/q")\ndef q(): ...', "app")
    assert [one.function for one in flask] == ["p"]


@pytest.mark.parametrize("index", [None, 0, 1])
def test_the_model_class_is_python_and_calls_what_was_found(index):
    endpoint = None if index is None else endpoints(FASTAPI, "shop")[index]
    source = model_source("a-mood", endpoint)
    tree = ast.parse(source)
    made = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    assert made.name == "AMood"
    assert {node.name for node in made.body if isinstance(node, ast.FunctionDef)} >= {"load", "predict"}
    if endpoint is not None:
        assert f"self.app.{endpoint.function}(given)" in source
        assert ("asyncio.run" in source) == endpoint.is_async
        assert ast.get_docstring(tree)
    assert all(len(line) <= 120 for line in source.splitlines())


def test_broken_source_is_told_with_its_line():
    with pytest.raises(UserError, match=r"app\.py:1  "):
        endpoints("def (", "app")


def test_a_name_that_is_no_class():
    assert class_name("7-up") == "Model7Up"
    assert class_name("none") == "ModelNone"


def test_every_file_is_there_and_the_same_each_time():
    adopted = converted(deployment(resources={"limits": {"nvidia.com/gpu": 1}}))
    files = files_of(adopted)
    assert sorted(files) == ["Dockerfile", "model/model.py", "platform.yaml", "service.yaml"]
    assert files == files_of(converted(deployment(resources={"limits": {"nvidia.com/gpu": 1}})))
    assert "FROM registry.example.com/mood:3\n" in files["Dockerfile"]
    assert files["Dockerfile"].rstrip().endswith("USER 65532")
