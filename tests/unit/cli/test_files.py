"""validate, schema, test: what they print and how they end."""

import json
import os

import pytest

GOOD = """apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model: {path: ./model.py}
"""
MODEL = """
class Model:
    examples = [{"input": 1, "output": {"twice": 2}}%s]

    def predict(self, batch):
        return [{"twice": 2 * item} for item in batch]
"""


@pytest.fixture
def run(tmp_path):
    import subprocess
    import sys

    def call(*args):
        return subprocess.run(
            [sys.executable, "-m", "plimsoll.cli.main", *map(str, args)],
            cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60, env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip

    return call


@pytest.fixture
def service(tmp_path):
    (tmp_path / "service.yaml").write_text(GOOD)
    (tmp_path / "model.py").write_text(MODEL % "")
    return tmp_path


def test_a_good_file_is_ok_and_says_what_is_not_honoured(service, run):
    assert run("validate").stdout == "ok    service.yaml  mood\n"
    (service / "service.yaml").write_text(GOOD + "  resources: {limits: {cpu: '1'}}\n")
    done = run("validate", "service.yaml")
    assert done.returncode == 0
    assert "not honoured here: mood: spec.resources.limits.cpu" in done.stdout


def test_all_errors_of_all_files_are_told(service, run):
    (service / "bad.yaml").write_text(GOOD.replace("mood", "other") + "  scaling: {maxReplica: 8}\n  budgets: {}\n")
    done = run("validate", "bad.yaml", "service.yaml")
    assert done.returncode == 2
    assert done.stdout == "ok    service.yaml  mood\n"
    first, second = done.stderr.splitlines()
    assert first.startswith("bad.yaml:6  spec.scaling.maxReplica: unknown key")
    assert first.endswith("did you mean maxReplicas?")
    assert second.startswith("bad.yaml:7  spec.budgets: ")


def test_a_missing_model_and_a_double_name_are_errors_too(service, run):
    (service / "second.yaml").write_text(GOOD.replace("model.py", "none.py"))
    done = run("validate")
    assert done.returncode == 2
    assert "second.yaml:5  spec.model.path: ./none.py does not exist" in done.stderr
    assert "mood is the name of the service in" in done.stderr


def test_json_holds_the_same(service, run):
    report = json.loads(run("validate", "--json").stdout)
    assert report == {
        "ok": True,
        "files": [{"file": "service.yaml", "services": ["mood"], "others": [], "errors": [], "not_honoured": []}],
    }


def test_the_schema_is_json(run):
    assert "$schema" in json.loads(run("schema").stdout)


def test_examples_are_run_in_process(service, run):
    done = run("test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok mood   example 1" in done.stdout
    (service / "request.json").write_text("5")
    assert "request.json" in run("test").stdout
    (service / "model.py").write_text(MODEL % ', {"input": 2, "output": {"twice": 5}}')
    done = run("test", "service.yaml")
    assert done.returncode == 1
    assert "FAIL mood   example 2" in done.stdout
    assert "twice: expected 5, got 4" in done.stdout


def test_no_example_is_not_a_pass(service, run):
    (service / "model.py").write_text((MODEL % "").replace("examples", "unused"))
    done = run("test")
    assert done.returncode == 1
    assert "none found; give the class `examples" in done.stdout


def test_a_model_that_cannot_load_names_its_line(service, run):
    (service / "model.py").write_text("import nonexistent_thing\n" + MODEL % "")
    done = run("test")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model.py:1 ")
    assert "Traceback" not in done.stderr


def test_one_name_in_two_namespaces_is_well_and_no_laptops(run, service, tmp_path):
    both = [GOOD.replace("{name: mood}", f"{{name: mood, namespace: {each}}}") for each in ("shop", "bank")]
    (tmp_path / "service.yaml").write_text("---\n".join(both))
    done = run("validate")
    assert done.returncode == 0, done.stderr
    assert "not honoured here: mood: metadata.name: also in namespace bank; up takes one of them alone" in done.stdout
