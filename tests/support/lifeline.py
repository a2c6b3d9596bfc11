"""Whatever ends a test run, SIGKILL included, ends what it started: servers, pods, commands, and what these started.

`mark()` puts a name into this process's environment, which its children inherit, and starts a watcher that holds a pipe
from here. The pipe closes when this process is gone, however it went; the watcher then kills every process that bears
the name, and does what `afterwards` told it. A child with an environment of its own gets `marked(environment)`.
"""

import json
import os
import subprocess
import sys
import threading
import uuid

NAME = "TESTS_LIFELINE"
_lock = threading.Lock()
_watchers = {}  # pid -> (watcher, mark): who was forked from a test run is another


def mark():
    """This run's name; {NAME: name} stands in os.environ from then on."""
    return _watched()[1]


def marked(environment):
    return {**environment, NAME: mark()}


def afterwards(*argv):
    """A command for when this run is over and its processes are gone; may find its work done."""
    told = watcher().stdin
    with _lock:
        told.write(json.dumps(argv).encode() + b"\n")
        told.flush()


def watcher():
    """Its process."""
    return _watched()[0]


def bearers(name):
    """psutil's processes that were started with this name."""
    import psutil  # only when it is over: a watcher that waits stays small

    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(NAME) == name:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return found


def _watched():
    with _lock:
        if os.getpid() not in _watchers:
            name = uuid.uuid4().hex
            clean = {key: value for key, value in os.environ.items() if key != NAME}  # nobody's watcher kills another
            process = subprocess.Popen(
                [sys.executable, __file__, name], env=clean, stdin=subprocess.PIPE, start_new_session=True
            )
            _watchers[os.getpid()] = process, name
            os.environ[NAME] = name
        return _watchers[os.getpid()]


def _watch(name):
    told = [json.loads(line) for line in sys.stdin.buffer if line.endswith(b"\n")]
    quiet = 0
    while quiet < 2:  # once more: a process that was being started then shows its parent's environment for a moment
        found = bearers(name)
        for process in found:
            process.kill()
        quiet = 0 if found else quiet + 1
        threading.Event().wait(0.1)
    for argv in told:
        subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    _watch(sys.argv[1])
