"""`plimsoll profile` on models whose times are known."""

import json
import os
import signal
import subprocess

import psutil
import pytest
from tests.e2e.conftest import PLIMSOLL, alive

A_S, C_S = 0.02, 0.005
SLEEPY = f"""
import os
import time


class Model:
    def load(self):
        with open(os.path.join({{folder!r}}, "starts"), "a") as file:
            file.write("x")

    def predict(self, batch):
        time.sleep({A_S} + {C_S} * len(batch))
        return [len(batch)] * len(batch)
"""
STEP = """
import time


class Model:
    def predict(self, batch):
        time.sleep(0.02 if len(batch) <= 3 else 0.1)
        return [len(batch)] * len(batch)
"""
BUDGET = "  budget: {latency: {p99: 200ms}}\n  batching: {maxSize: 16}\n"


@pytest.fixture
def sleepy(service, tmp_path):
    folder = service("sleepy", model=SLEEPY.format(folder=str(tmp_path)), spec=BUDGET)
    (folder / "request.json").write_text('[{"input": {"text": "one"}}, {"input": {"text": "another"}}]')
    return folder


def test_what_is_learned_of_a_model_whose_times_are_known(plimsoll, sleepy, tmp_path):
    done = plimsoll("profile", sleepy, "--seconds", 4, "--starts", 4)
    assert done.returncode == 0, done.stderr
    profile = json.loads((sleepy / "sleepy.profile.json").read_text())
    print(profile)
    assert profile["plimsollProfile"] == 1
    assert profile["name"] == "sleepy"
    assert profile["revision"].startswith("sleepy-")
    assert (tmp_path / "starts").read_text() == "xxxx"  # each cold start is one
    # A sleep may last longer on a busy machine, never less.
    for size in (1, 8, 16):
        fitted = profile["a_s"] + profile["c_s"] * size
        assert 0.85 < fitted / (A_S + C_S * size) < 1.5, (size, fitted)
    assert profile["c_s"] / C_S > 0.5
    assert profile["max_batch"] == 16
    assert 0 < profile["cold_s"] <= profile["cold_p90_s"]
    assert profile["cpu"] < 0.5  # it sleeps
    assert profile["memory_bytes"] > 2**20
    # Through a gateway a lone request takes longer than straight at the replica.
    assert profile["gateway_s"] > 0
    beside = profile["overhead_s"] + profile["gateway_s"]
    assert beside <= profile["beside_p90_s"] <= profile["beside_p99_s"]
    assert "more through a gateway" in done.stdout
    assert "items/s inside the p99 budget of 200 ms" in done.stdout
    assert "t(b) = " in done.stdout
    assert "cold start 4 of 4" in done.stdout


def test_json_for_programs_and_a_file_of_ones_own(plimsoll, sleepy, tmp_path):
    done = plimsoll("profile", sleepy / "service.yaml", "sleepy", "--seconds", 1, "--starts", 1, "--json",
                    "--out", tmp_path / "mine.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["profile"] == json.loads((tmp_path / "mine.json").read_text())
    assert told["file"] == str(tmp_path / "mine.json")
    assert len(told["starts_s"]) == 1
    assert told["callers"][0]["callers"] == 1
    assert told["sizes"][0]["size"] == 1
    assert all(row["measured_s"] > 0 for row in told["sizes"])
    assert told["capacity_per_s"] > 0
    assert not (sleepy / "sleepy.profile.json").exists()


def test_a_time_that_is_no_line_is_called_so(plimsoll, service):
    folder = service("step", model=STEP, spec="  batching: {maxSize: 8}\n")
    (folder / "request.json").write_text("1")
    done = plimsoll("profile", folder, "--seconds", 6, "--starts", 1)
    assert done.returncode == 0, done.stderr
    assert "t(b) is no line: batches of" in done.stdout
    assert "there is no p99 budget" in done.stdout


def test_an_impossible_budget_is_said(plimsoll, service):
    folder = service("slow", model=SLEEPY.format(folder="/tmp"), spec="  budget: {latency: {p99: 5ms}}\n")
    (folder / "model.py").write_text("import time\n\n\nclass Model:\n    def predict(self, batch):\n"
                                     "        time.sleep(0.05)\n        return batch\n")  # fmt: skip
    (folder / "request.json").write_text("1")
    done = plimsoll("profile", folder, "--seconds", 1, "--starts", 1)
    assert done.returncode == 0, done.stderr
    assert "no replica keeps the p99 budget of 5 ms" in done.stdout
    assert "raise budget.latency.p99 above" in done.stdout


@pytest.mark.parametrize(
    ("model", "request_json", "said"),
    [
        ("class Model:\n    def predict(self, batch):\n        return batch\n", None, "no example is known for mood"),
        ("class Model:\n    def load(self):\n        raise OSError('no weights')\n\n"
         "    def predict(self, batch):\n        return batch\n", "1", "no weights"),
        ("class Model:\n    def predict(self, batch):\n        raise ValueError('bad input')\n", "1",
         "the service's own example is answered with 500 at /mood"),
    ],
    ids=["no example", "no load", "fails"],
)  # fmt: skip
def test_what_is_wrong_is_said(plimsoll, service, model, request_json, said):
    folder = service("mood", model=model)
    if request_json is not None:
        (folder / "request.json").write_text(request_json)
    done = plimsoll("profile", folder, "--seconds", 1)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "mood.profile.json").exists()


def test_which_service_is_asked_where_there_are_several(plimsoll, service):
    folder = service("one")
    (folder / "two.yaml").write_text((folder / "service.yaml").read_text().replace("one", "two"))
    done = plimsoll("profile", folder)
    assert done.returncode == 2
    assert "holds 2 services; choose one" in done.stderr
    assert "did you mean two?" in plimsoll("profile", folder, "tow").stderr


@pytest.mark.parametrize("at", ["cold start 2", "4 at a time"])
def test_ctrl_c_leaves_no_process_and_no_file(env, sleepy, at):
    process = subprocess.Popen(
        [*PLIMSOLL, "profile", str(sleepy), "--seconds", "60"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    below = []
    try:
        for line in process.stdout:
            if at in line:
                break
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        for one in (process, *below):
            if alive(one.pid):
                one.kill()
                one.wait(10)
                pytest.fail(f"{one.pid} was left behind")
    assert process.returncode == 130
    assert errors == "stopped; nothing was written\n"
    assert not (sleepy / "sleepy.profile.json").exists()
