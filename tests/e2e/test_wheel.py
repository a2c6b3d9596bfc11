"""The wheel, as a user gets it: built from this tree, installed in a clean environment, used."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if importlib.util.find_spec("build") is None:
        pytest.skip("needs build: pip install -e '.[dev]'")
    at = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(at), str(REPO)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = at.glob("*.whl")
    return built


EXTRAS = ("onnx", "sklearn", "scikit", "skops", "joblib", "scipy", "skl2onnx", "vader")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return install(wheel, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """As `pip install plimsoll-serve` gives it: without any extra."""
    return install(wheel, tmp_path_factory.mktemp("bare"), without=EXTRAS)


def install(wheel, home, without=()):
    """The `plimsoll` of a new venv that holds the wheel alone; its dependencies come from here by a .pth file, which
    needs no network. The editable install of this tree must not be seen, so each dependency is linked by itself."""
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(next(iter(home.glob("lib/python*/site-packages"))))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install", "--quiet", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    here = Path(sysconfig.get_paths()["purelib"])
    beside = home / "dependencies"
    beside.mkdir()
    for entry in here.iterdir():
        hidden = ("plimsoll", *without)
        if not entry.name.lower().lstrip("_").startswith(hidden) and not entry.name.endswith(".pth"):
            (beside / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(f"{beside}\n")
    return home / "bin", names


def clean_env(bin_folder, runtime):
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "LANG", "TMPDIR"}}
    return kept | {"PATH": f"{bin_folder}:/usr/bin:/bin", "XDG_RUNTIME_DIR": runtime, "NO_COLOR": "1"}


def test_the_wheel_holds_the_package_and_what_init_writes(installed):
    _, names = installed
    assert "plimsoll/py.typed" in names
    assert any(name.startswith("plimsoll/app/templates/") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "examples/"))]


def test_it_starts_from_the_wheel_alone(installed, env, tmp_path):
    bin_folder, _ = installed
    environ = clean_env(bin_folder, env["XDG_RUNTIME_DIR"])
    where = subprocess.run(
        [bin_folder / "python", "-c", "import plimsoll; print(plimsoll.__file__)"],
        env=environ, check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert str(bin_folder.parent) in where.stdout, "another plimsoll than the wheel's was imported"
    done = subprocess.run(
        ["plimsoll", "--version"], env=environ, check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert re.fullmatch(r"plimsoll \d+\.\d+\S*\n", done.stdout), done.stderr


@pytest.mark.parametrize("extras", ["all", "none"])
def test_the_first_hour_from_the_wheel(request, extras, env, tmp_path):
    """init, test, up, a request, Ctrl-C."""
    import http.client
    import signal
    import socket

    bin_folder, _ = request.getfixturevalue("installed" if extras == "all" else "bare")
    environ = clean_env(bin_folder, env["XDG_RUNTIME_DIR"])

    def plimsoll(*args, cwd):
        return subprocess.run(
            ["plimsoll", *args], env=environ, check=False, capture_output=True, text=True, cwd=cwd, timeout=60
        )

    assert plimsoll("init", "python", "mood", cwd=tmp_path).returncode == 0
    done = plimsoll("test", cwd=tmp_path / "mood")
    assert done.returncode == 0, done.stdout + done.stderr
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        port, admin_port = one.getsockname()[1], two.getsockname()[1]
    running = subprocess.Popen(
        ["plimsoll", "up", "--port", str(port), "--admin-port", str(admin_port)],
        env=environ, cwd=tmp_path / "mood", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        lines = []
        for line in running.stdout:
            lines.append(line)
            if "stop:" in line:
                break
        assert any("ready in" in line for line in lines), "".join(lines)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/mood", (tmp_path / "mood/request.json").read_bytes())
        assert connection.getresponse().status == 200
        connection.close()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    finally:
        if running.poll() is None:
            running.kill()
            running.wait(10)
        running.stdout.close()


@pytest.mark.parametrize(("suffix", "extra"), [("onnx", "onnx"), ("skops", "sklearn")])
def test_without_its_extra_a_format_says_what_to_install(bare, env, tmp_path, suffix, extra):
    """`test` says it, and `up` serves the others."""
    bin_folder, _ = bare
    environ = clean_env(bin_folder, env["XDG_RUNTIME_DIR"])
    (tmp_path / f"model.{suffix}").write_bytes(b"a model")
    (tmp_path / "service.yaml").write_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\n"
        f"spec: {{model: {{path: ./model.{suffix}}}}}\n"
    )
    (tmp_path / "request.json").write_text("{}")
    done = subprocess.run(
        ["plimsoll", "test"], env=environ, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode != 0
    assert f"pip install 'plimsoll-serve[{extra}]'" in done.stdout + done.stderr
    running = subprocess.Popen(
        ["plimsoll", "up", "--port", "0"],
        env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        told = next(line for line in running.stdout if "FAILED" in line)
        assert f"pip install 'plimsoll-serve[{extra}]'" in told
    finally:
        running.terminate()
        running.wait(30)
        running.stdout.close()
