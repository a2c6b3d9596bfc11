"""Rules about the whole source that no import contract can say: wall clocks, pickles, YAML, shells."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src/plimsoll"

# Only what is shown to people is told by the wall clock; everything that waits or measures is monotonic.
WALL_CLOCK = {"app/up.py", "control/controller.py", "cli/services.py", "cli/cluster.py", "load/run.py"}
# How old an answer is that another machine stored; when a token, whose issuer's clock is another's, is over; and the
# times in the audit log.
# On a cluster: conditions, events, certificates and pods' starts, which the API server and others wrote.
SHARED_CLOCK = {
    "gateway/cache/remote.py",
    "gateway/door.py",
    "telemetry/audit.py",
    "control/cluster/controller.py",
    "backends/kubernetes/replica.py",
    "backends/kubernetes/operator/operator.py",
}
UNPICKLES = {"models/sklearn.py"}  # where `unsafeFormats: [Pickle]` allows it
BANNED = {
    "yaml": {"load", "load_all", "unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader"},
    "os": {"system", "popen"},
    "tempfile": {"mktemp"},
}


def uses():
    """(file, module, name) for each `module.name` and `from module import name`; name "" for an import alone."""
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield file, name.name, ""
            elif isinstance(node, ast.ImportFrom) and node.module:
                for name in node.names:
                    yield file, node.module, name.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                yield file, node.value.id, node.attr


def test_nothing_waits_by_the_wall_clock():
    assert {file for file, module, name in uses() if (module, name) == ("time", "time")} <= WALL_CLOCK | SHARED_CLOCK


def test_nothing_is_unpickled_but_where_the_user_allows_it():
    modules = {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}
    assert {file for file, module, _ in uses() if module in modules} == UNPICKLES


def test_nothing_unsafe_is_called():
    assert [use for use in uses() if use[2] in BANNED.get(use[1], ())] == []
    for path in SOURCE.rglob("*.py"):
        assert "shell=True" not in path.read_text(encoding="utf-8"), path
