"""`plimsoll up`: from a file to an answer, and back to an empty machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
LOVELY = {"text": "what a lovely day"}


def test_the_sentiment_example_from_file_to_answer_to_ctrl_c(up):
    example = REPO / "examples/sentiment/service.yaml"
    running = up(example).ready()
    assert running.line(r"^  sentiment +rev 1 +1/1 ready in \d+\.\d+ s")
    assert f"localhost:{running.port}/analyze" in running.line(r"^  try: +curl ")

    # what `curl -d` sends: a form content type, and it must work
    status, headers, answer = running.post("/analyze", LOVELY, {"content-type": "application/x-www-form-urlencoded"})
    assert status == 200
    assert answer["label"] == "POSITIVE"
    assert 0 < answer["score"] <= 1
    assert headers["plimsoll-outcome"] == "ok"
    assert headers["x-request-id"]
    names = [part.strip().split(";")[0] for part in headers["server-timing"].split(",")]
    assert names == ["gateway", "queue", "compute"]

    status, _, answer = running.post("/v2/models/sentiment/infer", b"{")
    assert status == 400
    assert answer["error"]

    assert running.interrupt() == 0
    running.nothing_left()
    assert not running.run_dir.exists()


def test_the_printed_curl_line_works_as_it_stands(up, service):
    if shutil.which("curl") is None:
        pytest.skip("needs curl: apt install curl")
    folder = service()
    (folder / "request.json").write_text('{"text": "it\'s a day"}')
    running = up(cwd=folder).ready()
    line = running.line(r"^  try: +curl ").split("try:", 1)[1].strip()
    done = subprocess.run(
        ["bash", "-c", line.replace("curl ", "curl -sS ", 1)], check=False, capture_output=True, text=True, cwd=folder
    )
    assert done.stdout == '{"version":1,"value":{"text":"it\'s a day"}}\n', done.stderr


def test_several_services_stand_behind_one_gateway(up, service):
    running = up(service("one"), service("two") / "service.yaml").ready()
    assert running.post("/one", 1)[2] == {"version": 1, "value": 1}
    assert running.post("/two", [1, 2])[2] == {"version": 1, "value": [1, 2]}
    status, headers, answer = running.post("/three", 1)
    assert (status, headers["plimsoll-outcome"]) == (404, "not_found")
    assert answer["error"]


def test_a_taken_port_is_told_in_one_line(up, service):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    try:
        running = up(service(), port=taken.getsockname()[1])
        assert running.wait() == 2
    finally:
        taken.close()
    assert running.lines == [line for line in running.lines if line.startswith("error: port ")]
    assert f"port {running.port}" in running.output
    assert "--port" in running.output
    assert not running.run_dir.exists()


def test_a_second_instance_on_the_same_port_names_the_first(up, service):
    folder = service()
    first = up(folder).ready()
    second = up(folder, port=first.port)
    assert second.wait() == 2
    assert f"error: a plimsoll already runs on port {first.port} (pid {first.process.pid})" in second.output
    assert first.post("/mood", 1)[0] == 200


def test_two_services_of_one_name_are_refused(up, service):
    running = up(service("mood"), service("mood", folder="other"))
    assert running.wait() == 2
    assert "mood/service.yaml" in running.output
    assert "other/service.yaml" in running.output
    assert "Traceback" not in running.output


def test_a_typo_names_file_line_and_the_nearest_key(up, service):
    running = up(service(spec="  scaling: {maxReplica: 2}\n"))
    assert running.wait() == 2
    assert "service.yaml:7" in running.output
    assert "did you mean maxReplicas?" in running.output


def test_no_service_file_here_says_what_to_do(up, tmp_path):
    running = up(cwd=tmp_path)
    assert running.wait() == 2
    assert running.output.startswith("error: no service file")
    assert "plimsoll init" in running.output


def test_a_service_that_cannot_load_leaves_the_others_serving(up, service, echo, until):
    broken = echo.replace("        print(", "        raise RuntimeError('no weights here')\n        print(")
    running = up(service("broken", model=broken), service("fine")).ready()
    assert "no weights here" in running.line(r"^  broken .*FAILED")
    assert "model.py:7" in running.line(r"^  broken .*FAILED")
    assert running.post("/fine", 1)[0] == 200
    status, headers, answer = running.post("/broken", 1)
    assert (status, headers["plimsoll-outcome"]) == (503, "no_replica")
    assert "no weights here" in answer["error"]
    told = running.status("broken")
    assert told["phase"] == "Failed"
    assert "no weights here" in told["message"]
    assert running.process.poll() is None


def test_ctrl_c_answers_what_is_in_flight(up, service, slow, load):
    running = up(service(model=slow(0.5))).ready()
    answered = load(running.port, "/mood", 1, connections=1)
    answered.more(1)
    code = running.interrupt()
    answered._stop.set()
    assert code == 0
    refused = [failure for failure in answered.failures if "refused" not in failure.lower()]
    assert refused == [], "a request in flight was cut"
    running.nothing_left()


def test_a_second_ctrl_c_ends_at_once(up, service, slow, until):
    running = up(service(model=slow(20), spec="  timeout: 60s\n")).ready()
    client = running.client()
    client.connection.request("POST", "/mood", b"1")
    until(lambda: running.status("mood")["instances"][0]["in_flight"] == 1)
    running.children()
    os.killpg(running.process.pid, signal.SIGINT)
    running.line("Ctrl-C again")
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.wait(within=15) == 130  # not the 20 s of the model
    running.nothing_left(within=15)
    assert not running.run_dir.exists()


def test_sigterm_drains_as_ctrl_c_does(up, service):
    running = up(service()).ready()
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0
    running.nothing_left()
    assert not running.run_dir.exists()


def test_sigkill_leaves_no_orphan_and_the_port_can_be_used_again(up, service):
    folder = service()
    running = up(folder).ready()
    assert len(running.children()) >= 3  # fork server, gateway, replica
    running.process.kill()
    running.wait()
    running.nothing_left()
    again = up(folder, port=running.port).ready()
    assert again.post("/mood", 1)[0] == 200
    assert again.interrupt() == 0


def test_replicas_can_be_spawned_instead_of_forked(up, service):
    running = up(service(), "--start-method", "spawn").ready()
    assert running.post("/mood", 7)[2] == {"version": 1, "value": 7}
    assert running.interrupt() == 0
    running.nothing_left()
    assert not running.run_dir.exists()


def test_a_killed_gateway_comes_back_on_the_same_port(up, service, until):
    running = up(service()).ready()
    (gateway,) = [child for child in running.children() if child.name().startswith("gateway")]
    gateway.kill()

    def answers():
        try:
            return running.post("/mood", 1)[0] == 200
        except OSError:
            return False

    until(answers, message=lambda: running.output)
    assert running.interrupt() == 0
    running.nothing_left()


@pytest.mark.skipif(sys.platform != "linux", reason="modes of sockets are checked on Linux alone")
def test_the_run_folder_is_private(up, service):
    running = up(service()).ready()
    assert running.run_dir.stat().st_mode & 0o777 == 0o700
    for name in ("admin.sock", "control.sock"):
        assert (running.run_dir / name).stat().st_mode & 0o777 == 0o600
