"""What a tutorial made is converted, valid, renders, and is served."""

import json
from pathlib import Path

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
