"""Run folders: private, one owner, leftovers cleaned, found by other processes."""

import errno
import os
import subprocess
import sys

import pytest

from plimsoll.app.instance import Instance, RunFolder, find, run_root, running, told_in_a_line
from plimsoll.core.errors import HostError, UserError


def instance(port, socket="/none"):
    return Instance(os.getpid(), port, f"http://localhost:{port}", "http://localhost:1", socket, 0.0, "0.1.0")


# A POSIX lock never stands in the way of its own process: another one has to hold it.
HOLDER = """
import sys
from pathlib import Path
from plimsoll.app.instance import Instance, RunFolder
root, port = Path(sys.argv[1]), int(sys.argv[2])
folder = RunFolder.take(port, root=root)
folder.publish(Instance(1234, port, "g", "a", "s", 0.0, "v"))
(folder.path / "junk").mkdir()
print("held", flush=True)
sys.stdin.readline()
if sys.argv[3] == "remove":
    folder.remove()
"""


@pytest.fixture
def holder(tmp_path):
    started = []

    def start(port, then="remove"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "root"), str(port), then],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_folder_is_private_and_goes_with_its_owner(tmp_path):
    folder = RunFolder.take(8080, root=tmp_path / "root")
    assert folder.path == tmp_path / "root/8080"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.path.parent.stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert not (tmp_path / "root").exists()


def test_a_live_owner_is_named_and_respected(tmp_path, holder):
    holder(8080)
    with pytest.raises(HostError, match=r"already runs on port 8080 \(pid 1234\)"):
        RunFolder.take(8080, root=tmp_path / "root")
    assert [one.port for one in running(tmp_path / "root")] == [8080]


def test_what_a_killed_owner_left_is_cleaned(tmp_path, holder):
    process = holder(8080)
    process.kill()
    process.wait()
    assert (tmp_path / "root/8080/junk").exists()
    assert running(tmp_path / "root") == []
    folder = RunFolder.take(8080, root=tmp_path / "root")
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock"]
    folder.remove()


def test_one_instance_is_found_and_several_need_a_port(tmp_path, holder):
    root = tmp_path / "root"
    with pytest.raises(UserError, match="no running plimsoll found; start one with: plimsoll up FILE"):
        find(root=root)
    holder(8080)
    assert find(root=root).port == 8080
    holder(9090)
    with pytest.raises(UserError, match="choose one with --port: 8080, 9090"):
        find(root=root)
    assert find(9090, root=root).port == 9090
    with pytest.raises(UserError, match="no running plimsoll on port 7070; running: 8080, 9090"):
        find(7070, root=root)


def test_a_full_disk_is_one_line(tmp_path):
    root = tmp_path / "root"
    with pytest.raises(HostError, match=r"root/8080/logs: No space left on device$"), told_in_a_line(root):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), root / "8080/logs")
    with pytest.raises(PermissionError), told_in_a_line(root):  # the user's own files are told elsewhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "service.yaml"))


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="not a folder of yours"):
        RunFolder.take(8080, root=tmp_path / "root")


def test_the_root_is_short_enough_for_a_socket(tmp_path):
    assert str(run_root({})) == f"/tmp/plimsoll-{os.getuid()}"
    long = tmp_path / ("x" * 60)
    long.mkdir()
    assert str(run_root({"XDG_RUNTIME_DIR": str(long)})) == f"/tmp/plimsoll-{os.getuid()}"
    assert str(run_root({"XDG_RUNTIME_DIR": "/tmp"})) == "/tmp/plimsoll"
    assert str(run_root({"XDG_RUNTIME_DIR": "/nowhere"})) == f"/tmp/plimsoll-{os.getuid()}"
