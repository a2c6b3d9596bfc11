"""`plimsoll serve`: one replica, no gateway, in its own process: what a container runs as PID 1."""

import json
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def serve(env, tmp_path):
    started = []

    def start(*args):
        process = subprocess.Popen(
            [sys.executable, "-m", "plimsoll.cli.main", "serve", *map(str, args)],
            cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()


def test_one_replica_answers_and_drains_on_sigterm(serve, service, free_port):
    port = free_port()
    process = serve(service() / "service.yaml", "--port", port)
    line = process.stdout.readline()
    while line and "ready in" not in line:  # what the model prints comes before
        line = process.stdout.readline()
    assert f"http://localhost:{port}/mood" in line

    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/mood", b"3")
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"version": 1, "value": 3})
    connection.request("POST", "/v2/models/mood/infer", b"{}")
    assert connection.getresponse().read()
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_several_services_need_a_choice(serve, service, free_port):
    folder = service("one")
    text = (folder / "service.yaml").read_text()
    (folder / "service.yaml").write_text(text + "---\n" + text.replace("one", "two"))
    process = serve(folder / "service.yaml", "--port", free_port())
    assert process.wait(60) == 2
    assert "choose one with --service: one, two" in process.stdout.read()


def test_a_taken_port_and_a_broken_model_are_clear_lines(serve, service, free_port, echo):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = serve(service() / "service.yaml", "--port", taken.getsockname()[1])
        assert process.wait(60) == 2
        assert process.stdout.read().startswith("error: port ")
    broken = service("broken", model=echo + "\n1 / 0\n")
    process = serve(broken / "service.yaml", "--port", free_port())
    assert process.wait(60) == 2
    told = process.stdout.read()
    assert "model.py:" in told
    assert "ZeroDivisionError" in told
    assert json.loads(told.splitlines()[0])["message"].startswith("model did not load: ZeroDivisionError")
    assert told.splitlines()[1].startswith("error: ")


def test_it_logs_json_where_nobody_watches(env, service, free_port):
    options = [service() / "service.yaml", "--port", free_port()]
    process = subprocess.Popen(
        [sys.executable, "-m", "plimsoll.cli.main", "serve", *map(str, options)],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        ready = json.loads(line)
        assert (ready["message"], ready["service"], ready["replica"]) == ("replica ready", "mood", "mood-alone-0")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert [json.loads(line)["message"] for line in errors.splitlines()] == ["draining", "drained"]
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_over_tls_to_clients_with_a_certificate(serve, service, free_port, tmp_path):
    import http.client

    from tests.support.certificates import Authority, client_context

    ca = Authority(tmp_path, "ca")
    cert, key = ca.server("server")
    port = free_port()
    options = ("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca.cert)
    process = serve(service() / "service.yaml", "--port", port, *options)
    line = process.stdout.readline()
    while line and "ready in" not in line:
        line = process.stdout.readline()
    assert f"https://localhost:{port}/mood" in line
    context = client_context(ca.cert, ca.client("alice"))
    connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=context)
    connection.request("POST", "/mood", b"3")
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"version": 1, "value": 3})
    connection.close()
    stranger = http.client.HTTPSConnection("localhost", port, timeout=60, context=client_context(ca.cert))
    with pytest.raises(OSError):  # noqa: PT011, PT012 # an alert or a reset, at the write or at the read
        stranger.request("POST", "/mood", b"3")
        stranger.getresponse()
    stranger.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_tls_files_that_can_not_be_used_are_named_before_the_model_loads(serve, service, tmp_path):
    missing = tmp_path / "none.pem"
    folder = service(model="raise SystemExit('loaded')")
    process = serve(folder / "service.yaml", "--port", 0, "--tls-cert", missing, "--tls-key", missing)
    assert process.wait(60) == 2
    said = process.stdout.read()
    assert "none.pem" in said
    assert "loaded" not in said
    process = serve(folder / "service.yaml", "--port", 0, "--tls-cert", missing)
    assert process.wait(60) == 2
    assert "--tls-cert and --tls-key go together" in process.stdout.read()
