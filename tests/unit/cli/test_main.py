"""The command itself: fast help, exit codes, one line an error."""

import subprocess
import sys

import pytest

from plimsoll import __version__

MAIN = [sys.executable, "-m", "plimsoll.cli.main"]


def run(*args, **options):
    return subprocess.run([*MAIN, *args], check=False, capture_output=True, text=True, timeout=60, **options)


def test_help_lists_every_command_in_the_order_of_use():
    done = run("--help")
    assert done.returncode == 0
    names = [
        line.split()[0]
        for line in done.stdout.split("Commands:")[1].splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    wanted = [
        "init",
        "up",
        "serve",
        "test",
        "validate",
        "schema",
        "apply",
        "status",
        "logs",
        "events",
        "scale",
        "delete",
    ]
    assert [name for name in names if name in wanted] == wanted
    assert {"version", "completion"} <= set(names)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["status", "--help"]])
def test_help_imports_nothing_heavy(args):
    """Each of these costs 30-150 ms; together they would make every command feel slow. (Some releases of typer check
    a command's own parameters with pydantic; that is theirs.)"""
    heavy = (
        "pydantic", "numpy", "uvloop", "starlette", "uvicorn", "msgspec", "yaml", "psutil", "asyncio", "rich",
        "httptools", "plimsoll.spec",
    )  # fmt: skip
    code = (
        "import sys, plimsoll.cli.main as m\n"
        f"sys.argv = ['plimsoll', *{args!r}]\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [n for n in {heavy!r} if n in sys.modules])"
    ).replace("'pydantic', ", "" if args[0] == "status" else "'pydantic', ")
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_version_is_told_both_ways():
    assert run("--version").stdout == run("version").stdout == f"plimsoll {__version__}\n"


def test_usage_errors_and_our_errors_end_with_two(tmp_path):
    assert run("stats").returncode == 2
    assert run("scale", "mood").returncode == 2
    done = run("validate", str(tmp_path / "none.yaml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}/none.yaml: no such file or folder\n"


def test_paths_in_errors_are_told_from_this_folder(tmp_path):
    (tmp_path / "service.yaml").write_text("kind: ModelService\n")
    done = run("up", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: service.yaml:1  apiVersion: ")
    assert "Traceback" not in done.stderr


def test_completion_scripts_are_printed():
    assert "_PLIMSOLL_COMPLETE" in run("completion", "bash").stdout
    done = run("completion", "tcsh")
    assert done.returncode == 2
    assert "error: no completion for 'tcsh'" in done.stderr


def test_commands_and_options_complete():
    import os

    env = os.environ | {"_PLIMSOLL_COMPLETE": "complete_bash", "COMP_WORDS": "plimsoll sta", "COMP_CWORD": "1"}
    assert subprocess.run(MAIN, env=env, check=False, capture_output=True, text=True, timeout=60).stdout.split() == [
        "status"
    ]


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(MAIN)} schema | head -1; exit ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
