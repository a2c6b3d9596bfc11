"""Every folder of examples/, served with the commands of its README and asked what its README asks."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import REPO, Client

EXAMPLES = REPO / "examples"
OPEN = sorted({path.parent.name for path in EXAMPLES.glob("*/README.md")} - {"tenants"})  # that one wants keys


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    """A copy of examples/ as a fresh clone has it: without trained models."""
    folder = tmp_path_factory.mktemp("clone") / "examples"
    return shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("*.onnx", "__pycache__", "*.key", "secrets"))


def commands(folder):
    """The README's console lines: [(command, what it shows, or "")]."""
    blocks = re.findall(r"^```(?:console)?\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    found = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append([line[2:], ""])
        else:
            found[-1][1] += line
    return found


def matches(expected, got):
    """As `plimsoll test` has it: more keys are fine, floats agree to four digits."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(key in got and matches(expected[key], got[key]) for key in expected)
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(matches, expected, got))
    return got == pytest.approx(expected, rel=1e-4) if isinstance(expected, float) else got == expected


def curl(command, port, folder):
    """(path, answer) of `curl localhost:8080/PATH [-d BODY|@FILE]`, sent to `port` instead."""
    words = shlex.split(command)
    assert words[0] == "curl"
    assert words[1].startswith("localhost:8080/")
    path = words[1].removeprefix("localhost:8080")
    client = Client(port)
    try:
        if len(words) == 2:
            return path, client.get(path)
        assert words[2] == "-d"
        body = (folder / words[3][1:]).read_bytes() if words[3].startswith("@") else words[3].encode()
        return path, client.post(path, body, {"content-type": "application/x-www-form-urlencoded"})  # as curl sends it
    finally:
        client.close()


@pytest.fixture(scope="session")
def trained(examples):
    """digits.onnx, by the command of its README."""
    (train, told), *_ = commands(examples / "digits")
    assert train == "python train.py"
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=examples / "digits", capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.strip() == told
    return examples


@pytest.mark.parametrize("name", OPEN)
def test_its_readme_is_true(name, trained, up):
    folder = trained / name
    running, asked = None, 0
    for command, told in commands(folder):
        if command.startswith("plimsoll up"):
            running = up(*shlex.split(command)[2:], cwd=folder).ready()
            continue
        if not command.startswith("curl"):
            continue
        assert running is not None, "the README asks before it serves"
        path, (status, headers, answer) = curl(command, running.port, folder)
        assert (status, headers["plimsoll-outcome"]) == (200, "ok"), answer
        asked += 1
        body = command.rpartition("@")[2] if "@" in command else ""
        if body:
            expected = json.loads((folder / body.replace("request.json", "expected.json")).read_text())
            assert matches(expected, answer)
            shown = json.loads(re.sub(r"\[…\]", "null", told))
            assert list(shown) == list(answer), f"the README shows other keys for {path}"
            assert all(matches(value, answer[key]) for key, value in shown.items() if value is not None)
    assert asked


def shell(command, running, cwd, env):
    """What `command` prints, as typed in a terminal, with this run's port."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here: scripts/install-servers.sh installs it")
    done = subprocess.run(
        ["bash", "-c", command if running is None else command.replace("localhost:8080", f"localhost:{running.port}")],
        cwd=cwd, env=env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.strip()


def test_tenants_as_typed(trained, up, env):
    """Each command of its README; those without an answer there are looked at here."""
    folder, running, told = trained / "tenants", None, {}
    for command, answer in commands(folder):
        if command == "plimsoll up":
            running = up(cwd=folder).ready()
            continue
        told[command] = shell(command, running, folder, env)
        if answer:
            assert told[command] == answer
    keyed, nightly, web, status = [text for command, text in told.items() if not command.startswith("curl")][1:]
    assert keyed == "", "into the file, and nowhere else"
    assert "throttled: 429" in nightly
    assert "degraded: " in web
    assert "of answers came from" in status
    assert "in the one gateway" in status


@pytest.mark.parametrize("name", OPEN)
def test_the_inference_protocol_knows_its_services(name, trained, up):
    running = up(cwd=trained / name).ready()
    for row in json.loads(running.cli("status", "--json").stdout)["services"]:
        assert row["phase"] == "Ready"
        client = running.client()
        status, _, model = client.get(f"/v2/models/{row['name']}")
        assert (status, model["name"]) == (200, row["name"])
        assert client.get(f"/v2/models/{row['name']}/ready")[0] == 200
        client.close()


def test_each_folder_is_covered():
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == sorted(
        path.parent.name for path in EXAMPLES.glob("*/README.md")
    )
