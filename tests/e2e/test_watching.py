"""Save a file while `up` runs: a new revision without a failed request, or a line that says what is wrong."""

import json


def test_a_saved_model_takes_over_without_a_failed_request(up, service, echo, load):
    folder = service()
    running = up(folder).ready()
    traffic = load(running.port, "/mood", {"n": 1})
    traffic.more(20)
    (folder / "model.py").write_text(echo.replace("VERSION = 1", "VERSION = 2"))
    line = running.line(r"rev 2 ready in")
    assert "model.py changed" in line
    assert "rev 1 drained, 0 requests failed" in line
    traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    versions = [answer["version"] for answer in traffic.answers]
    assert set(versions) == {1, 2}
    assert versions[-1] == 2
    assert running.status("mood")["revision_number"] == 2


def test_a_broken_save_stands_in_the_terminal_while_the_old_one_serves(up, service, echo, load):
    folder = service()
    running = up(folder).ready()
    traffic = load(running.port, "/mood", 1, connections=2)
    traffic.more(5)
    (folder / "model.py").write_text(echo.replace("def predict(self, batch):", "def predict(self, batch)"))
    line = running.line(r"FAILED")
    assert "rev 2 FAILED" in line
    assert "model.py:9 SyntaxError" in line
    assert "(rev 1 keeps serving)" in line
    traffic.more(10)
    aside = folder / ".model.py.swp"  # as many editors save: written aside, then renamed
    aside.write_text(echo.replace("VERSION = 1", "VERSION = 3"))
    aside.rename(folder / "model.py")
    running.line(r"rev 3 ready in")
    traffic.more(10)
    traffic.stop()
    assert traffic.failures == []
    assert traffic.answers[-1]["version"] == 3


def test_a_typo_in_the_service_file_is_told_and_nothing_changes(up, service):
    folder = service()
    running = up(folder).ready()
    text = (folder / "service.yaml").read_text()
    (folder / "service.yaml").write_text(text + "  scaling: {maxReplica: 2}\n")
    assert "did you mean maxReplicas?" in running.line(r"service\.yaml:7")
    assert running.post("/mood", 1)[0] == 200
    assert running.status("mood")["revision_number"] == 1
    (folder / "service.yaml").unlink()
    running.line(r"service\.yaml is gone; its services go on")
    assert running.post("/mood", 1)[0] == 200


def test_a_changed_service_file_is_applied(up, service, until):
    folder = service(spec="  scaling: {minReplicas: 1, maxReplicas: 2}\n")
    running = up(folder).ready()
    text = (folder / "service.yaml").read_text()
    (folder / "service.yaml").write_text(text.replace("minReplicas: 1", "minReplicas: 2"))
    running.line(r"mood +service\.yaml changed: applied; no replica had to be replaced")
    until(lambda: running.status("mood")["replicas"] == {"ready": 2, "wanted": 2})


def test_a_new_file_in_a_watched_folder_is_served(up, service, tmp_path, until):
    service("one")
    (tmp_path / "one/model.py").rename(tmp_path / "model.py")
    (tmp_path / "one/service.yaml").rename(tmp_path / "one.yaml")
    running = up(tmp_path).ready()
    (tmp_path / "two.yaml").write_text((tmp_path / "one.yaml").read_text().replace("one", "two"))
    running.line(r"two +two.yaml changed: rev 1 +1/1 ready")
    assert running.post("/two", 1)[0] == 200


def test_a_model_file_that_is_missing_is_told_and_taken_when_it_comes(up, service, echo):
    folder = service("late")
    (folder / "model.py").unlink()
    running = up(service("fine"), folder).ready()
    told = "late/service.yaml:5  spec.model.path: ./model.py does not exist"
    assert f"FAILED: {told}" in running.line("late/service.yaml")
    status = running.status("late")
    assert (status["phase"], status["message"]) == ("Failed", f"FAILED: {told}")
    code, headers, answer = running.post("/late", 1)
    assert (code, headers["plimsoll-outcome"]) == (503, "no_replica"), answer
    assert " ".join(told.split()) in answer["error"]
    assert running.post("/fine", 1)[0] == 200
    (folder / "model.py").write_text(echo)
    running.line(r"late +model.py changed: rev 1 +1/1 ready")
    assert running.post("/late", 1)[0] == 200


def test_a_new_route_serves_after_a_save(up, service, until):
    folder = service()
    running = up(folder).ready()
    text = (folder / "service.yaml").read_text()
    (folder / "service.yaml").write_text(text.replace("/mood", "/feeling"))
    until(lambda: running.post("/feeling", 1)[0] == 200)
    until(lambda: running.post("/mood", 1)[0] == 404)


def test_no_watch_means_no_watch(up, service, echo):
    folder = service()
    running = up(folder, "--no-watch").ready()
    (folder / "model.py").write_text(echo.replace("VERSION = 1", "VERSION = 2"))
    applied = json.loads(running.cli("apply", folder / "service.yaml", "--json").stdout)["applied"]
    assert [(one["name"], one["revision_number"], one["failed"]) for one in applied] == [("mood", 2, None)]
    assert running.post("/mood", 1)[2]["version"] == 2


def test_a_helper_module_that_is_new_and_then_changes_counts(up, service, echo):
    folder = service()
    running = up(folder).ready()
    (folder / "helper.py").write_text("ANSWER = 41\n")
    running.line(r"helper\.py changed: rev 2 ready in")
    used = "from helper import ANSWER\n" + echo.replace('"version": VERSION', '"version": ANSWER')
    (folder / "model.py").write_text(used)
    running.line(r"model\.py changed: rev 3 ready in")
    assert running.post("/mood", 1)[2]["version"] == 41
    (folder / "helper.py").write_text("ANSWER = 42\n")
    running.line(r"helper\.py changed: rev 4 ready in")
    assert running.post("/mood", 1)[2]["version"] == 42


def test_saves_in_quick_succession_end_with_the_last(up, service, echo, load, until):
    folder = service()
    running = up(folder).ready()
    traffic = load(running.port, "/mood", 1, connections=2)
    for number in range(2, 12):
        aside = folder / "model.py~"  # written aside and renamed, as editors do
        aside.write_text(echo.replace("VERSION = 1", f"VERSION = {number}"))
        aside.rename(folder / "model.py")
        traffic.more(5)
    until(lambda: running.post("/mood", 1)[2]["version"] == 11, message=lambda: running.output)
    until(lambda: running.status("mood")["phase"] == "Ready")
    traffic.stop()
    assert traffic.failures == []


def test_each_of_several_files_is_watched(up, service, echo, tmp_path):
    one, two = service("one"), service("two")
    (tmp_path / "more").mkdir()
    three = service("three", folder="more/three")
    running = up(one, two / "service.yaml", three / "service.yaml").ready()
    for name, folder in (("three", three), ("one", one), ("two", two)):
        (folder / "model.py").write_text(echo.replace("VERSION = 1", "VERSION = 7"))
        assert name in running.line(rf"^  {name} .*rev 2 ready in")
        assert running.post(f"/{name}", 1)[2]["version"] == 7


def test_a_deleted_model_is_told_and_the_watch_goes_on(up, service, echo, until):
    folder = service()
    running = up(folder).ready()
    (folder / "model.py").unlink()
    assert "does not exist" in running.line(r"service\.yaml:\d+ .*model\.py")
    assert running.post("/mood", 1)[2]["version"] == 1
    (folder / "service.yaml").chmod(0)  # nobody but root reads it now
    (folder / "service.yaml").write_bytes(b"\xff\xfe\x00 not text")
    running.line(r"service\.yaml.*(UTF-8|utf-8|text)")
    text = service("mood")  # writes both anew
    (text / "model.py").write_text(echo.replace("VERSION = 1", "VERSION = 3"))
    until(lambda: running.post("/mood", 1)[2]["version"] == 3, message=lambda: running.output)


def test_undoing_a_broken_save_goes_back_to_what_serves(up, service, echo):
    folder = service()
    running = up(folder).ready()
    (folder / "model.py").write_text(echo + "\ndef broken(:\n")
    running.line("rev 2 FAILED")
    (folder / "model.py").write_text(echo)
    running.line("model.py changed: back to rev 1, which has served all the while")
