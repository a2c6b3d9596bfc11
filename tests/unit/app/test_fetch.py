"""The fetch step as a process: killed and started again, out of room, its exit codes and last words."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from tests.support.artifact_servers import Fault, WebFiles

from plimsoll.app.fetch import Exit

DATA = os.urandom(1 << 20) * 3
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def web():
    with WebFiles({"/m.onnx": DATA}) as found:
        yield found


def command(*args, tmp_path):
    last = ["--termination-log", str(tmp_path / "last-words")]
    return [sys.executable, "-m", "plimsoll.app.fetch", *map(str, args), *last]


def run(*args, tmp_path, **more):
    more |= {"capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command(*args, tmp_path=tmp_path), check=False, **more)


def last_words(tmp_path):
    return (tmp_path / "last-words").read_text()


def part_of(folder):
    return next(iter(folder.glob(".plimsoll-partial/*/parts/00000")), None)


def test_done(web, tmp_path):
    done = run(web.url("/m.onnx"), "--digest", DIGEST, "--to", tmp_path / "model", tmp_path=tmp_path)
    assert done.returncode == Exit.DONE, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["fetching", "fetched"]
    assert (lines[-1]["done_bytes"], lines[-1]["total_bytes"]) == (len(DATA), len(DATA))
    assert not (tmp_path / "last-words").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_started_again(how, web, tmp_path):
    web.faults += [Fault(), Fault(after=2_000_000, silent=True)]
    target = tmp_path / "model"
    args = (web.url("/m.onnx"), "--digest", DIGEST, "--to", target)
    running = subprocess.Popen(command(*args, tmp_path=tmp_path), stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 30
    while (part := part_of(target)) is None or part.stat().st_size < 1_000_000:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    running.send_signal(how)
    running.wait(30)
    assert not (target / "m.onnx").exists()
    had = part_of(target).stat().st_size
    done = run(*args, tmp_path=tmp_path)
    assert done.returncode == Exit.DONE, done.stderr
    assert web.asked[-1][2]["Range"] == f"bytes={had}-"
    assert (target / "m.onnx").read_bytes() == DATA


def test_a_limit_on_the_disk(web, tmp_path):
    """RLIMIT_FSIZE stands for a quota: writing fails in the middle, whatever the file system said was free."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    target = tmp_path / "model"
    done = run(web.url("/m.onnx"), "--digest", DIGEST, "--to", target, tmp_path=tmp_path, preexec_fn=limited)
    assert done.returncode == Exit.NO_ROOM
    assert last_words(tmp_path).startswith("no room for the model: it needs 2.")
    assert "are free, but a quota or a limit" in last_words(tmp_path)
    assert not (target / "m.onnx").exists()


def test_a_small_volume(web, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(volume)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small volume can't be mounted here; run as root")
    try:
        done = run(web.url("/m.onnx"), "--digest", DIGEST, "--to", volume / "model", tmp_path=tmp_path)
    finally:
        subprocess.run(["umount", str(volume)], check=True)
    assert done.returncode == Exit.NO_ROOM
    assert "it needs 3Mi more in" in last_words(tmp_path)


def test_what_went_wrong_tells_the_exit_code(web, tmp_path):
    target = tmp_path / "model"

    def code(*args):
        return run(*args, "--to", target, "--tries", "1", tmp_path=tmp_path).returncode

    assert code(web.url("/none"), "--digest", DIGEST) == Exit.WRONG
    assert "404" in last_words(tmp_path)
    assert code("ftp://x/y") == Exit.WRONG
    assert code(web.url("/m.onnx"), "--digest", "sha256:" + "0" * 64) == Exit.DIGEST
    assert code("http://127.0.0.1:9/m.onnx") == Exit.UNREACHABLE
    web.files["/m.tar"] = b"no tar at all" * 100
    assert code(web.url("/m.tar")) == Exit.UNSAFE
    assert code(web.url("/m.onnx"), "--credentials", tmp_path / "none") == Exit.WRONG


def test_check_reads_what_is_there(tmp_path):
    (tmp_path / "m.onnx").write_bytes(DATA)
    where = f"file://{tmp_path}/m.onnx"
    assert run(where, "--digest", DIGEST, "--check", tmp_path=tmp_path).returncode == Exit.DONE
    (tmp_path / "m.onnx").write_bytes(DATA[1:])
    assert run(where, "--digest", DIGEST, "--check", tmp_path=tmp_path).returncode == Exit.DIGEST


def test_a_list_kept_ready(web, tmp_path):
    web.files["/second.onnx"] = b"second"
    second = f"sha256:{hashlib.sha256(b'second').hexdigest()}"
    wanted, cache = tmp_path / "models", tmp_path / "cache"
    wanted.write_text(f"# what the nodes keep\n{web.url('/m.onnx')} {DIGEST}\n{web.url('/none')} sha256:{'1' * 64}\n")
    once = ("--prefetch", wanted, "--cache", cache, "--once", "--tries", "1")
    assert run(*once, tmp_path=tmp_path).returncode == Exit.FAILED, "one of them is nowhere"
    assert (cache / "sha256" / DIGEST[7:] / "m.onnx").is_file()
    wanted.write_text(json.dumps([{"uri": web.url("/second.onnx"), "digest": second}]))
    assert run(*once, "--cache-size", "1Mi", tmp_path=tmp_path).returncode == Exit.DONE
    assert sorted(file.name for file in (cache / "sha256").iterdir()) == [second[7:]], "the other one had to go"
    asked = len(web.asked)
    target = tmp_path / "model"
    args = (web.url("/second.onnx"), "--digest", second, "--to", target, "--cache", cache)
    assert run(*args, tmp_path=tmp_path).returncode == Exit.DONE
    assert len(web.asked) == asked, "it came from the cache"
    assert (target / "second.onnx").read_bytes() == b"second"


def test_a_cache_that_is_damaged_is_passed_by(web, tmp_path):
    cache = tmp_path / "cache"
    args = (web.url("/m.onnx"), "--digest", DIGEST, "--cache", cache)
    assert run(*args, "--to", tmp_path / "one", tmp_path=tmp_path).returncode == Exit.DONE
    kept = cache / "sha256" / DIGEST[7:] / "m.onnx"
    data = bytearray(kept.read_bytes())
    data[1000] ^= 1
    kept.write_bytes(data)
    assert run(*args, "--to", tmp_path / "two", tmp_path=tmp_path).returncode == Exit.DONE
    assert (tmp_path / "two" / "m.onnx").read_bytes() == DATA


def test_a_list_that_is_read_again_until_sigterm(web, tmp_path):
    wanted, cache = tmp_path / "models", tmp_path / "cache"
    wanted.write_text("")
    args = command("--prefetch", wanted, "--cache", cache, "--every", "0.05", tmp_path=tmp_path)
    running = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
    wanted.write_text(f"{web.url('/m.onnx')} {DIGEST}\n")
    for line in running.stderr:
        if json.loads(line)["message"] == "kept ready":
            break
    running.send_signal(signal.SIGTERM)
    running.stderr.close()
    assert running.wait(30) == 0
    assert (cache / "sha256" / DIGEST[7:] / "m.onnx").is_file()
