"""apply, status, logs, events, scale, delete, validate, init, test against a running instance."""

import json
import re
import subprocess
import sys


def test_without_a_running_instance_every_command_says_how_to_start_one(plimsoll, tmp_path, service):
    folder = service()
    for args in (
        ["status"],
        ["logs", "mood"],
        ["scale", "mood", "2"],
        ["delete", "mood"],
        ["events"],
        ["apply", str(folder)],
    ):
        done = plimsoll(*args)
        assert done.returncode == 2, args
        assert done.stderr == "error: no running plimsoll found; start one with: plimsoll up FILE\n"
        assert done.stdout == ""


def test_a_service_is_applied_changed_scaled_and_deleted(up, service, echo):
    running = up(service("mood")).ready()
    other = service("other", spec="  budget: {latency: {p99: 100ms}, errorRate: 0.1%}\n")

    done = running.cli("apply", other / "service.yaml")
    assert re.search(r"other +created: rev 1 \(other-[0-9a-f]{7}\)", done.stdout), done.stdout
    assert re.search(r"other +rev 1 +1/1 ready", done.stdout), done.stdout
    assert running.post("/other", 1)[2]["version"] == 1

    (other / "model.py").write_text(echo.replace("VERSION = 1", "VERSION = 2"))
    done = running.cli("apply", other)
    assert running.post("/other", 1)[2]["version"] == 2

    done = running.cli("apply", other)
    assert "unchanged: rev 2" in done.stdout

    assert "2/2 ready" in running.cli("scale", "other", 2).stdout
    assert len([one for one in running.status("other")["instances"] if one["phase"] == "ready"]) == 2

    table = running.cli("status").stdout
    header = table.splitlines()[0]
    assert header.split()[:4] == ["SERVICE", "REVISION", "READY", "REQ/S"]
    assert re.search(r"^other +2 other-[0-9a-f]{7} +2/2 .*\(100ms\) .*\(0\.1%\) +Ready", table, re.MULTILINE), table
    assert re.search(r"^mood +1 mood-[0-9a-f]{7} +1/1 ", table, re.MULTILINE), table
    assert f"http://localhost:{running.port}" in table

    assert "other   deleted" in running.cli("delete", "other").stdout
    assert running.post("/other", 1)[0] == 404
    assert running.cli("status", "other", check=2).stderr.startswith("error: no service 'other'")


def test_a_failing_revision_ends_apply_with_one_and_the_old_one_serves(up, service, echo):
    folder = service()
    running = up(folder, "--no-watch").ready()
    (folder / "model.py").write_text(echo + "\nraise ValueError('half written')\n")
    done = running.cli("apply", folder, check=1)
    assert "half written" in done.stdout
    assert "model.py:" in done.stdout
    assert running.post("/mood", 1)[2]["version"] == 1
    told = running.status("mood")
    assert told["phase"] == "Degraded"
    assert "half written" in running.cli("status").stdout


def test_errors_in_a_file_are_all_told_and_nothing_changes(up, service):
    folder = service()
    running = up(folder, "--no-watch").ready()
    text = (folder / "service.yaml").read_text()
    (folder / "service.yaml").write_text(text + "  scaling: {maxReplica: 2}\n  budgets: {}\n")
    done = running.cli("apply", folder, check=2)
    assert done.stderr.count("error: ") == 2
    assert "did you mean maxReplicas?" in done.stderr
    assert running.status("mood")["revision_number"] == 1


def test_unknown_names_get_the_nearest_one(up, service):
    running = up(service("sentiment")).ready()
    for args in (["status", "sentimnt"], ["scale", "sentimnt", "2"], ["delete", "sentimnt"], ["logs", "sentimnt"]):
        assert running.cli(*args, check=2).stderr == "error: no service 'sentimnt'; did you mean sentiment?\n", args


def test_logs_show_what_the_model_printed_also_as_it_comes(up, service, echo, load):
    chatty = echo.replace("        return", "        print('got', batch, flush=True)\n        return")
    running = up(service(model=chatty)).ready()
    running.post("/mood", 41)
    done = running.cli("logs", "mood")
    assert re.search(r"^mood-\S+ .*loaded version 1", done.stdout, re.MULTILINE), done.stdout
    assert "got [41]" in done.stdout
    assert len(running.cli("logs", "-n", "1").stdout.splitlines()) == 1
    rows = [json.loads(line) for line in running.cli("logs", "mood", "--json").stdout.splitlines()]
    assert all(row["service"] == "mood" and row["replica"].startswith("mood-") for row in rows)

    following = subprocess.Popen(
        [sys.executable, "-m", "plimsoll.cli.main", "logs", "mood", "-f", "-n", "0"],
        env=running.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        traffic = load(running.port, "/mood", 1000, connections=1)  # until the follower has seen one of them
        line = ""
        while "got [1000]" not in line:
            line = following.stdout.readline()
            assert line, "the follower ended"
        traffic.stop()
    finally:
        following.terminate()
        following.wait(30)
        following.stdout.close()


def test_logs_show_our_own_lines_as_plain_ones(up, service, echo):
    failing = echo.replace("        return", "        if batch == ['secret']: raise KeyError(batch[0])\n        return")
    running = up(service(model=failing)).ready()
    for _ in range(3):
        assert running.post("/mood", "secret")[0] == 500
    done = running.cli("logs", "mood")
    assert re.search(r"^mood-\S+ \d\d:\d\d:\d\d info     replica ready  pid=\d+  ", done.stdout, re.MULTILINE), (
        done.stdout
    )
    assert re.search(
        r"error    predict failed  error=KeyError  at_line=\S*model.py:10 predict", done.stdout.replace('"', "")
    )
    assert done.stdout.count("predict failed") == 1
    assert "secret" not in done.stdout
    rows = [json.loads(line) for line in running.cli("logs", "mood", "--json").stdout.splitlines()]
    (ready,) = [row["record"] for row in rows if row.get("record", {}).get("message") == "replica ready"]
    assert ready["service"] == "mood"
    assert ready["level"] == "info"
    gateway = (running.run_dir / "logs" / "gateway-0.log").read_text().splitlines()
    assert "gateway ready" in [json.loads(line)["message"] for line in gateway]


def test_a_count_set_by_hand_says_what_it_means(up, service):
    running = up(service()).ready()
    assert "2/2 ready   until: plimsoll scale mood auto" in running.cli("scale", "mood", "2").stdout
    told = running.cli("scale", "mood", "0").stdout
    assert told == "  mood   0/0 ready   requests get 503 no_replica until: plimsoll scale mood auto\n"
    assert running.cli("scale", "mood", "auto").stdout == "  mood   1/1 ready\n"


def test_events_tell_what_happened(up, service):
    running = up(service()).ready()
    rows = [json.loads(line) for line in running.cli("events", "--json").stdout.splitlines()]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert {"applied", "ready"} <= {row["kind"] for row in rows}
    assert re.search(r"^\d\d:\d\d:\d\d  mood   rev 1 ", running.cli("events", "mood").stdout, re.MULTILINE)


def test_names_complete_from_the_running_instance(up, service):
    running = up(service("mood"), service("other")).ready()
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll.cli.main"],
        env=running.env | {"_PLIMSOLL_COMPLETE": "complete_bash", "COMP_WORDS": "plimsoll status m", "COMP_CWORD": "2"},
        check=False, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.stdout.split() == ["mood"], done.stderr


def test_two_instances_are_told_apart_by_port(up, service):
    one, two = up(service("one")).ready(), up(service("two")).ready()
    done = one.cli("status", check=2)
    ports = ", ".join(str(port) for port in sorted((one.port, two.port)))
    assert done.stderr == f"error: 2 plimsolls are running; choose one with --port: {ports}\n"
    told = json.loads(one.cli("status", "--port", two.port, "--json").stdout)
    assert [service["name"] for service in told["services"]] == ["two"]


def test_from_an_empty_folder_to_an_answer(plimsoll, up, tmp_path):
    done = plimsoll("init", "python", "mood")
    assert done.returncode == 0, done.stderr
    assert "Next: " in done.stdout
    folder = tmp_path / "mood"
    done = plimsoll("validate", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    done = plimsoll("test", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    running = up(cwd=folder).ready()
    body = (folder / "request.json").read_bytes()
    assert running.post("/mood", body)[0] == 200
