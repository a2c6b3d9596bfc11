"""`plimsoll build`: context and Dockerfile, the lock, the file that names the image."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from plimsoll import __version__
from plimsoll.app import build, build_lock
from plimsoll.app.build import BuildRequest, build_files
from plimsoll.app.build_lock import Lock, closure, lock, machine_of
from plimsoll.backends.kubernetes.artifacts.dockerfile import ImageSpec, dockerfile
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import render
from plimsoll.cli.main import app
from plimsoll.core.errors import SpecError, UserError
from plimsoll.spec import load_text

ROOT = Path(__file__).resolve().parents[3]
FILE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model: {path: ./mood.py}
  routes: [{path: /mood}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mood.py").write_text("class Mood:\n    def predict(self, batch):\n        return batch\n")
    (tmp_path / "words.txt").write_text("good")
    (tmp_path / "service.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Without pip: a lock and a wheel that stand for real ones."""
    monkeypatch.setattr(
        build, "lock", lambda wanted, machine: Lock("".join(f"{one}\n" for one in sorted(wanted)), True)
    )

    def wheel(place):
        place.mkdir()
        (place / f"plimsoll_serve-{__version__}-py3-none-any.whl").write_bytes(b"wheel")
        return True

    monkeypatch.setattr(build, "_wheel", wheel)


def run(*args):
    done = CliRunner().invoke(app, ["build", *map(str, args)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


# --- what a Dockerfile must be ----------------------------------------------------------------------------------------


def instructions(text):
    """(word, rest) of each instruction, with continued lines joined and comments gone."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


WORDS = {"ARG", "FROM", "ENV", "RUN", "COPY", "WORKDIR", "LABEL", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}


def check_dockerfile(text, context):
    found = instructions(text)
    words = [word for word, _ in found]
    assert set(words) <= WORDS
    assert words[0] == "ARG"
    assert words.count("FROM") == 2
    last_stage = found[len(words) - words[::-1].index("FROM") :]
    user = [rest for word, rest in last_stage if word == "USER"]
    assert user == ["65532:65532"], "a number, so that the kubelet can tell that it isn't root"
    assert [word for word, _ in last_stage].index("USER") > max(
        place for place, (word, _) in enumerate(last_stage) if word == "COPY"
    ), "what is copied belongs to root: the user can't change it"
    assert not any(word == "RUN" for word, _ in last_stage), "nothing of a build reaches the image"
    assert ("HEALTHCHECK", "NONE") in last_stage
    assert json.loads(last_stage[-1][1])[:2] == ["python", "-m"]
    bases = [rest for word, rest in found if word == "ARG"]
    assert all(re.fullmatch(r"BASE=[\w.:/-]+:[\w.-]+", base) and not base.endswith(":latest") for base in bases)
    for word, rest in found:
        if word == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert (context / source).exists(), f"COPY {source}: not in the context"
        if word == "RUN":
            assert "pip install" not in rest or "-r requirements.txt" in rest or "--no-index" in rest or "==" in rest
    order = [rest for word, rest in found if word == "COPY"]
    assert "requirements.txt" in order[0], "packages before what changes more often"
    return found


def test_the_context(folder, quick):
    done = run("service.yaml", "-o", "out")
    context = folder / "out" / "mood"
    found = check_dockerfile((context / "Dockerfile").read_text(), context)
    assert ("COPY", "model /opt/model") in found
    assert ("RUN", "/opt/venv/bin/pip install --no-compile --require-hashes -r requirements.txt") in found
    files = sorted(path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file())
    assert files == [
        ".dockerignore",
        ".plimsoll-build",
        "Dockerfile",
        "model/mood.py",
        "model/words.txt",
        "requirements.txt",
        f"wheels/plimsoll_serve-{__version__}-py3-none-any.whl",
    ]
    assert (context / ".dockerignore").read_text().splitlines()[:4] == ["*", "!requirements.txt", "!wheels", "!model"]
    image = yaml.safe_load(done.stdout)["spec"]["runtime"]["image"]
    assert f"docker build --platform linux/{machine_of()} -t {image} out/mood" in done.stderr


def test_the_file_names_the_image_and_the_model_in_it(folder, quick):
    done = run("service.yaml", "-o", "out", "--tag", "registry.example.com/mood:1")
    written = yaml.safe_load(done.stdout)
    assert written["spec"] == {
        "model": {"path": "/opt/model/mood.py", "format": "Python"},
        "runtime": {"image": "registry.example.com/mood:1"},
        "routes": [{"path": "/mood"}],
    }
    assert list(written["spec"]) == ["model", "runtime", "routes"]
    (service,) = load_text(done.stdout)
    text = json.dumps(render(service, None, ClusterOptions()).objects)
    assert '"image": "registry.example.com/mood:1"' in text
    assert "/opt/model/mood.py" in text


def test_the_same_input_gives_the_same_tag(folder, quick):
    first = run("service.yaml", "-o", "out").stdout
    assert run("service.yaml", "-o", "other").stdout == first
    (folder / "words.txt").write_text("better")
    assert run("service.yaml", "-o", "out").stdout != first
    assert re.search(r"image: mood:[0-9a-f]{12}\n", first)


def test_requirements_come_with_plimsolls_own(folder, quick):
    (folder / "service.yaml").write_text(FILE + "  runtime: {requirements: [vaderSentiment==3.3.2]}\n")
    run("service.yaml", "-o", "out")
    lines = (folder / "out/mood/requirements.txt").read_text().splitlines()
    assert "vaderSentiment==3.3.2" in lines
    assert {"numpy", "pydantic", "msgspec"} <= {Requirement(line).name for line in lines}
    assert "plimsoll-serve" not in {Requirement(line).name for line in lines}, "it comes as a wheel"


def test_a_class_to_import_brings_its_package(folder, quick):
    (folder / "moods").mkdir()
    (folder / "moods" / "main.py").write_text("class Mood: ...\n")
    (folder / "service.yaml").write_text(FILE.replace("./mood.py", "moods.main:Mood"))
    done = run("service.yaml", "-o", "out")
    context = folder / "out" / "mood"
    found = check_dockerfile((context / "Dockerfile").read_text(), context)
    assert (context / "app/moods/main.py").is_file()
    assert ("COPY", "app /opt/app") in found
    assert any(word == "ENV" and "PYTHONPATH=/opt/app" in rest for word, rest in found)
    assert yaml.safe_load(done.stdout)["spec"]["model"] == {"path": "moods.main:Mood"}
    (folder / "service.yaml").write_text(FILE.replace("./mood.py", "elsewhere:Mood"))
    assert "elsewhere does not lie beside the service file" in run("service.yaml", "-o", "out").stderr


def test_packages_alone(folder, quick):
    done = run("service.yaml", "-o", "out", "--no-model")
    assert yaml.safe_load(done.stdout)["spec"]["model"] == {"path": "./mood.py"}
    assert not (folder / "out/mood/model").exists()


def test_what_is_refused(folder, quick):
    (folder / "id_rsa").write_text("x")
    with pytest.raises(SpecError, match=r"service\.yaml:5 .*id_rsa has a name as secrets have"):
        build_files([Path("service.yaml")], BuildRequest(Path("out")))
    (folder / "id_rsa").unlink()
    (folder / "mine").mkdir()
    (folder / "mine" / "mood").mkdir()
    (folder / "mine" / "mood" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="holds something else"):
        build_files([Path("service.yaml")], BuildRequest(Path("mine")))
    assert (folder / "mine" / "mood" / "thesis.txt").exists()
    with pytest.raises(UserError, match="linux/amd64"):
        machine_of("linux/riscv64")


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_pips_report_becomes_a_lock_with_hashes(monkeypatch):
    report = [
        {
            "metadata": {"name": name, "version": "1.0"},
            "download_info": {"archive_info": {"hashes": {"sha256": "ab" * 32}}},
        }
        for name in ("Zeta_Lib", "alpha")
    ]
    asked = []

    def pip(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, json.dumps({"install": report}), "")

    monkeypatch.setattr(build_lock.subprocess, "run", pip)
    found = lock(["alpha"], "arm64")
    assert found == Lock(f"alpha==1.0 --hash=sha256:{'ab' * 32}\nzeta-lib==1.0 --hash=sha256:{'ab' * 32}\n", True)
    assert "manylinux_2_28_aarch64" in asked[0]


def test_without_an_index_the_installed_versions_are_taken(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: Could not find a version that satisfies the requirement")
    monkeypatch.setattr(build_lock.subprocess, "run", lambda *_, **__: failed)
    found = lock(["pydantic>=2"], "amd64")
    assert not found.hashed
    assert {line.partition("==")[0] for line in found.text.splitlines()} >= {"pydantic", "pydantic-core"}
    assert "without hashes" in found.notes[0]
    with pytest.raises(UserError, match="not installed here"):
        lock(["surely-not-installed-anywhere"], "amd64")


def test_requirements_that_exclude_each_other(monkeypatch):
    text = "ERROR: Cannot install a and b\nERROR: ResolutionImpossible"
    monkeypatch.setattr(build_lock.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", text))
    with pytest.raises(UserError, match="can't be resolved: Cannot install"):
        lock(["pydantic==0.0.1"], "amd64")


def test_closure_follows_extras():
    found = closure(["plimsoll-serve[k8s]"])
    assert {"lightkube", "httpx2", "cryptography", "pydantic"} <= set(found)
    assert "plimsoll-serve" not in found
    assert not {"kopf", "pytest"} & set(found)


# --- Plimsoll's own image ---------------------------------------------------------------------------------------------


def test_the_committed_dockerfile_is_what_the_code_makes():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/image_files.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    check_dockerfile(text, ROOT)
    pinned = set((ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines())
    lines = (ROOT / "deploy/docker/requirements.txt").read_text().splitlines()[1:]
    assert set(lines) <= pinned


def test_a_container_tool_builds_it(folder):
    """A base of nothing but files shows that the tool takes the Dockerfile; what Python does in it is tried above."""
    tool = next((name for name in ("docker", "podman", "buildah") if shutil.which(name)), None)
    if tool is None:
        pytest.skip("no docker, podman or buildah here")
    base = "python:3.11-slim"
    look = {"docker": ["image", "inspect"], "podman": ["image", "exists"], "buildah": ["inspect", "--type", "image"]}[
        tool
    ]
    there = subprocess.run([tool, *look, base], capture_output=True, text=True, check=False)
    if there.returncode != 0:
        why = (there.stderr.strip().splitlines() or ["not there"])[-1]
        pytest.skip(f"{tool} is here, but not the image {base} to build on: {why}")
    builds = build_files([Path("service.yaml")], BuildRequest(Path("out"), base=base, tag="plimsoll-test:build"))
    done = subprocess.run(shlex.split(builds.built[0].command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_bytecode_holds_whatever_the_files_times_are(tmp_path):
    """By the very command of the build stage, on a package that stands for all of them."""
    text = dockerfile(ImageSpec("python:3.11-slim", wheels=True, command=("python", "-m", "x")))
    runs = [rest for word, rest in instructions(text) if word == "RUN" and "compileall" in rest]
    package, bytecode = tmp_path / "lib/python3.x/site-packages/plimsoll", tmp_path / "bytecode"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "template.py").write_text("{{ no python }}")
    assert len(runs) == 2
    assert "COPY --from=build /opt/bytecode /opt/bytecode" in text
    assert "PYTHONPYCACHEPREFIX=/opt/bytecode" in text.partition("FROM ${BASE}\n")[2]
    command = runs[1].replace("/opt/venv/bin/python", sys.executable).replace("/opt/venv", str(tmp_path))
    subprocess.run(command.replace("/opt/bytecode", str(bytecode)), shell=True, check=True, capture_output=True)
    (made,) = bytecode.rglob("*.pyc")
    assert int.from_bytes(made.read_bytes()[4:8], "little") == 1, "by hash, and not looked at again (PEP 552)"


def test_one_name_in_two_namespaces_is_built_in_two_folders(folder, quick):
    text = (folder / "service.yaml").read_text()
    both = [text.replace("{name: mood", f"{{namespace: {each}, name: mood") for each in ("shop", "bank")]
    (folder / "service.yaml").write_text("---\n".join(both))
    run("service.yaml", "-o", "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["bank.mood", "shop.mood"]


def test_labels_are_quoted():
    text = dockerfile(ImageSpec("python:3.11-slim", labels={"a": 'say "hi"\\'}, command=("python", "-m", "x")))
    assert 'LABEL a="say \\"hi\\"\\\\"' in text
