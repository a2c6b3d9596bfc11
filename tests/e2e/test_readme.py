"""README and docs say what is so: their service files are valid, their Python compiles, their commands exist and print
what they show (figures aside)."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import typer.main
from tests.e2e.conftest import REPO
from tests.e2e.test_examples import curl, shell

from plimsoll.cli.main import app
from plimsoll.spec import load_all_text, load_text

PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md")), *sorted((REPO / "examples").glob("*/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    return [body for language, body in BLOCK.findall(page.read_text()) if language in languages]


def shown(page):
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_python_compiles_and_service_files_are_valid(page):
    for body in blocks(page, "python"):
        compile(body, shown(page), "exec")
    for body in blocks(page, "yaml"):
        if body.startswith("apiVersion: plimsoll.dev/"):
            load_all_text(body, file=shown(page))
        elif body.startswith("spec:\n"):
            part = body.removeprefix("spec:\n")
            load_text(f"{MINIMAL}{_without_what(part)}{part}", file=shown(page))
        elif body.startswith("  "):  # part of a spec
            load_text(f"{MINIMAL}{_without_what(body)}{body}", file=shown(page))


MINIMAL = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: x}\nspec:\n"


def _without_what(body):
    """The one key that a spec needs, where the part does not show it."""
    return "" if re.search(r"^  model:", body, re.MULTILINE) else "  model: {path: ./model.py}\n"


def commands():
    """Every `plimsoll …` line of a console block, and every `plimsoll …` in backticks."""
    for page in PAGES:
        for body in blocks(page, "console", "", "sh", "bash"):
            for line in body.splitlines():
                if line.startswith("$ "):
                    for part in re.split(r" && | \| | > ", line[2:]):
                        if part.startswith("plimsoll "):
                            yield shown(page), part
        for part in re.findall(r"`(plimsoll [^`]+)`", page.read_text()):
            yield shown(page), " ".join(part.split())


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_and_options_exist(page, command):
    root = typer.main.get_command(app)
    name, *words = shlex.split(command.split(" > ")[0].rstrip("…. "))[1:]
    known = {option for parameter in root.params for option in parameter.opts} | {"-h", "--help"}
    if not name.startswith("-") and name != "COMMAND":
        assert name in root.commands, f"{page}: no command {name}"
        command = root.commands[name]
        if hasattr(command, "commands"):  # `tenant key`
            assert words[0] in command.commands, f"{page}: no command {name} {words[0]}"
            command = command.commands[words[0]]
        known |= {option for one in command.params for option in one.opts + one.secondary_opts}
    assert [word for word in words if re.match(r"--?[a-z]", word) and word not in known] == [], page


def figures_aside(text):
    """Numbers, ids and the spacing of columns differ from run to run."""
    text = re.sub(r"\b(mood|sentiment|flowers)-[0-9a-f]{7}\b", r"\1-ID", text)
    return re.sub(r"[ ]+", " ", re.sub(r"\d+(\.\d+)?(e-\d+)?", "N", text)).strip()


def console(heading):
    """[(command, the lines it shows)] of the README's first console block that has `heading`."""
    body = next(body for body in blocks(REPO / "README.md", "console") if heading in body)
    found = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:].partition("  #")[0].strip(), []))
        else:
            found[-1][1].append(line)
    return found


def test_the_first_block_within_20_lines(up):
    (demo, told), (ask, answer) = console("make demo")
    assert (REPO / "README.md").read_text().splitlines().index(f"$ {ask}") < 20
    assert demo == "make demo"
    assert "plimsoll up examples/sentiment/service.yaml" in (REPO / "Makefile").read_text()
    running = up(REPO / "examples/sentiment/service.yaml", cwd=REPO).ready()
    assert printed(running) == [figures_aside(line) for line in told]
    _, (status, _, got) = curl(ask, running.port, REPO)
    assert status == 200
    assert answer == ['{"label":"POSITIVE","score":0.5859}']
    assert got == {"label": "POSITIVE", "score": 0.5859}


def printed(running):
    """What `up` printed, as it would on the ports that it takes by itself."""
    text = running.output.replace(f":{running.port}/", ":8080/").replace(f":{running.admin_port} ", ":8090 ")
    return [figures_aside(line) for line in text.splitlines()]


def test_ten_minutes(up, plimsoll, tmp_path):
    _, (start, told) = console("init python mood")
    assert start == "plimsoll init python mood && cd mood && plimsoll up"
    made = plimsoll("init", "python", "mood")
    running = up(cwd=tmp_path / "mood").ready()
    lines = [figures_aside(line) for line in made.stdout.splitlines()] + printed(running)
    assert lines == [figures_aside(line) for line in told]

    model = tmp_path / "mood" / "model.py"
    good = model.read_text()
    model.write_text(f"# saved\n{good}")
    changed, failed = next(
        body for body in blocks(REPO / "README.md", "console") if "model.py changed" in body
    ).splitlines()
    assert figures_aside(running.line("model.py changed: rev 2")) == figures_aside(changed)
    model.write_text(good.replace("def load(self):", "def load(self)"))
    assert figures_aside(running.line("rev 3 FAILED")) == figures_aside(failed)

    (ask, headers), (status, table) = console("grep -E")
    path, (code, got, _) = curl(ask.partition(" | ")[0].replace("-si ", ""), running.port, tmp_path)
    assert (path, code) == ("/mood", 200)
    wanted = [line.partition(":")[0] for line in headers]
    assert wanted == ["plimsoll-revision", "server-timing", "plimsoll-outcome"]
    for line in headers:
        name, _, value = line.partition(": ")
        assert figures_aside(got[name]) == figures_aside(value)
    assert status == "plimsoll status"
    rows = running.cli("status").stdout.splitlines()
    assert figures_aside(rows[0]) == figures_aside(table[0])
    assert len(table[1].split()) == len(rows[1].split())
    assert figures_aside(rows[-1].replace(str(running.port), "8080")).startswith("gateway http://localhost:N up N")


def test_who_may_ask_and_what_answers_instead(up, plimsoll, tmp_path, env, until):
    """The same folder: a tenant is saved beside the service, and the service gets a cache and a fallback."""
    tenant, more = (body for body in blocks(REPO / "README.md", "yaml") if "kind: Tenant" in body or "fallback" in body)
    (make, _), (nobody, refused), (shop, answer) = console("plimsoll tenant key")
    (down, falls), (ask, headers), (back, ready) = console("plimsoll scale mood 0")
    assert plimsoll("init", "python", "mood").returncode == 0
    folder = tmp_path / "mood"
    running = up(cwd=folder).ready()

    def typed(command):
        return shell(command, running, folder, env).splitlines()

    assert typed(make) == []
    (folder / "tenants.yaml").write_text(tenant)
    running.line("tenants.yaml changed: tenant shop created")
    until(lambda: typed(nobody) == refused)
    assert typed(shop) == answer

    (folder / "service.yaml").write_text((folder / "service.yaml").read_text() + more)
    until(lambda: running.status("mood")["cache"])
    until(lambda: typed(f"{shop} -si | grep plimsoll-outcome") == ["plimsoll-outcome: cached"])
    assert typed(down) == [line.strip() for line in falls]
    until(lambda: typed(ask) == headers)
    assert typed(back) == [line.strip() for line in ready]


def test_other_models(up, plimsoll, tmp_path):
    (start, _), (plain, answer), (protocol, _) = console("init onnx")
    assert start == "plimsoll init onnx flowers && cd flowers && python train.py && plimsoll up"
    assert plimsoll("init", "onnx", "flowers").returncode == 0
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path / "flowers", check=True, capture_output=True, timeout=90)
    running = up(cwd=tmp_path / "flowers").ready()
    _, (status, _, got) = curl(plain, running.port, tmp_path)
    assert status == 200
    expected = json.loads(answer[0])
    assert got["label"] == expected["label"]
    assert got["probabilities"] == pytest.approx(expected["probabilities"], rel=1e-3)
    _, (status, _, got) = curl(protocol, running.port, tmp_path)
    assert status == 200
    assert got["model_name"] == "flowers"
