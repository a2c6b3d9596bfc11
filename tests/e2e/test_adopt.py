"""What a tutorial made is converted, valid, renders, and is served."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

MADE = Path(__file__).parent / "adopt"
OBJECTS = ("--file", MADE / "deployment.yaml", "--file", MADE / "hpa.yaml")


def test_a_web_app_and_its_objects_become_a_service_that_answers(plimsoll, up, tmp_path):
    done = plimsoll(
        "adopt", "deployment/moods-deployment", "hpa/moods-hpa", *OBJECTS, "--app", MADE / "moods.py", "--to", "moods"
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "moods"
    assert "Next: cd moods && plimsoll validate" in done.stdout

    checked = plimsoll("validate", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert "moods" in checked.stdout

    rendered = plimsoll("render", "--pack", cwd=folder)
    assert rendered.returncode == 0, rendered.stderr
    objects = {one["kind"]: one for one in yaml.safe_load_all(rendered.stdout)}
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.com/moods:1.4-plimsoll"
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "256Mi"}
    assert objects["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 3

    running = up("moods").ready()
    status, headers, answer = running.post("/analyze", {"text": "a lovely day"})
    assert (status, answer) == (200, {"label": "POSITIVE", "score": 1})
    assert headers["plimsoll-outcome"] == "ok"
    status, _, answer = running.post("/analyze", {"words": "none"})
    assert status == 400
    assert "expected text" in answer["error"]


def autoscaler(version, **spec):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mood-deployment"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "mood-hpa"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10} | spec,
    }


def share(resource, percent):
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def pods_metric(value):
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Pods", "pods": {"metric": {"name": "requests_per_second"}, "target": target}}


USUAL = {
    "v1, CPU": (autoscaler("v1", targetCPUUtilizationPercentage=50), {}),
    "v2, CPU and memory": (autoscaler("v2", metrics=[share("cpu", 50), share("memory", 60)]), {}),
    "v2, a metric of pods": (autoscaler("v2", metrics=[pods_metric("10")]), {}),
    "a GPU": (None, {"limits": {"nvidia.com/gpu": 1}}),
}


@pytest.mark.parametrize("what", USUAL)
def test_the_usual_objects_of_tutorials_convert_keep_their_meaning_and_run(what, plimsoll, up, tmp_path):
    """No requests, `latest`, a container that brings its own server: as they are published."""
    hpa, resources = USUAL[what]
    container = {"name": "c", "image": "registry.example.com/mood:latest", "ports": [{"containerPort": 8000}]}
    labels = {"app": "mood"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mood-deployment"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container | ({"resources": resources} if resources else {})]},
            },
        },
    }
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all([deployment] + ([hpa] if hpa else [])))
    done = plimsoll("adopt", "--file", "objects.yaml", "--app", MADE / "moods.py", "--to", "mood")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mood"
    assert plimsoll("validate", cwd=folder).returncode == 0
    files = sorted(one.name for one in folder.glob("*.yaml"))
    rendered = plimsoll("render", "--pack", "-n", "shop", *files, cwd=folder)
    assert rendered.returncode == 0, rendered.stderr
    objects = {}
    for one in yaml.safe_load_all(rendered.stdout):
        objects[one["kind"]] = one
        kubernetes_validate.validate(one, "1.36", strict=True)
    if hpa is None:
        pod = objects["Deployment"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
        assert "HorizontalPodAutoscaler" not in objects
        assert objects["Deployment"]["spec"]["replicas"] == 1
    else:
        wanted = hpa["spec"] | {"metrics": hpa["spec"].get("metrics") or [share("cpu", 50)]}
        made = objects["HorizontalPodAutoscaler"]["spec"]
        assert {key: made[key] for key in ("minReplicas", "maxReplicas", "metrics")} == {
            key: wanted[key] for key in ("minReplicas", "maxReplicas", "metrics")
        }
        # a share of a request needs one
        asked = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
        assert {one["resource"]["name"] for one in made["metrics"] if one["type"] == "Resource"} <= set(asked)
    running = up("mood").ready()
    status, _, answer = running.post("/analyze", {"text": "a lovely day"})
    assert (status, answer) == (200, {"label": "POSITIVE", "score": 1})


def test_without_the_source_the_frame_says_what_is_missing(plimsoll, tmp_path):
    done = plimsoll("adopt", *OBJECTS, "--to", "moods")
    assert done.returncode == 0, done.stderr
    assert "its module is moods" in done.stdout
    assert plimsoll("validate", cwd=tmp_path / "moods").returncode == 0
    tried = plimsoll("test", cwd=tmp_path / "moods")
    assert tried.returncode != 0
    again = plimsoll("adopt", *OBJECTS, "--to", "moods")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_alone_it_prints_the_service(plimsoll):
    done = plimsoll("adopt", *OBJECTS)
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)
    assert service["metadata"] == {"name": "moods", "labels": {"team": "shop"}}
    assert service["spec"]["scaling"] == {
        "minReplicas": 1, "maxReplicas": 3, "policy": "HPA", "writer": "HPA",
        "hpa": {"metric": "RequestsPerSecond", "target": "10"},
    }  # fmt: skip
    assert service["spec"]["runtime"]["env"] == [
        {"name": "LEVEL", "value": "3"},
        {"name": "TOKEN", "secretRef": {"name": "moods", "key": "token"}},
    ]
    assert "# - service: who calls http://moods-service:80" in done.stdout
    assert json.dumps(service)
