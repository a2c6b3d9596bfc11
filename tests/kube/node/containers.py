"""A container as a local process: its own mounts where this machine allows them, environment, logs, restarts, end."""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.kube.api import timestamp
from tests.kube.node.volumes import MissingSource, contents, field
from tests.support import lifeline

MESSAGE_MAX = 2048  # bytes of a log's end, as kubelets take for a termination message
_EXPANDED = {"PLIMSOLL_CONFIG_DIR": "/etc/plimsoll", "PLIMSOLL_MODEL_PATH": "/model"}


# Where the interpreter and this project are: a checkout below /tmp must not vanish behind a container's own /tmp.
_HERE = {Path(sys.prefix), Path(sys.prefix).resolve(), Path(sys.base_prefix), Path(__file__).resolve().parents[3]}
NEEDED = sorted(path for path in _HERE if not _HERE & set(path.parents))


def may_mount():
    """Whether a mount namespace of one's own can be had here."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    return False


class Place:
    """What a container finds around it: mounts [(from, to, read only)], the pod's object, address and service ports."""

    def __init__(self, mounts, environment, own_mounts):
        self.mounts, self.environment, self.own_mounts = mounts, environment, own_mounts

    def command(self, argv):
        """A command line that sees its mounts."""
        if not self.own_mounts:
            return argv
        steps = ["set -e"]
        # what hides the sources of others (an own /tmp) comes last
        for source, target, read_only in sorted(self.mounts, key=self._hides):
            for needed in (path for path in NEEDED if Path(target) in path.parents):
                inside = shlex.quote(str(source / needed.relative_to(target)))
                steps.append(f"mkdir -p {inside}; mount --bind {shlex.quote(str(needed))} {inside}")
            steps.append(f"mount --rbind {shlex.quote(str(source))} {shlex.quote(target)}")
            if read_only:
                steps.append(f"mount -o remount,bind,ro {shlex.quote(target)}")
        steps.append('exec "$@"')
        return ["unshare", "-m", "sh", "-c", "\n".join(steps), "sh", *argv]

    def _hides(self, mount):
        return any(Path(mount[1]) in source.parents for source, _, _ in self.mounts)


class Container:
    """`exited(code)` is awaited by its pod; `status` is what stands in the pod's status."""

    def __init__(self, spec, folder):
        self.spec, self.name = spec, spec["name"]
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.restarts = 0
        self.started = self.ready = False
        self.state = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state = {}
        self.process = None
        self._begun = ""
        self._begun_s = 0.0

    @property
    def log_file(self):
        return self.folder / f"{self.restarts}.log"

    @property
    def previous_log_file(self):
        return self.folder / f"{self.restarts - 1}.log"

    @property
    def message_file(self):
        return self.folder / "termination-message"

    @property
    def running(self):
        return "running" in self.state

    @property
    def ran_s(self):
        return time.monotonic() - self._begun_s

    async def start(self, place, argv):
        self.message_file.write_bytes(b"")
        environment = lifeline.marked(place.environment)
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *place.command(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                cwd=self.spec.get("workingDir") or str(self.folder), start_new_session=True,
            )  # fmt: skip
        self._begun, self._begun_s = timestamp(), time.monotonic()
        self.state = {"running": {"startedAt": self._begun}}

    async def wait(self):
        """The exit code; 128 + n for a signal."""
        code = await self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it left behind
        code = 128 - code if code < 0 else code
        self.state = {"terminated": self._terminated(code)}
        self.ready = self.started = False
        return code

    def _terminated(self, code):
        found = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": self._begun,
                 "finishedAt": timestamp()}  # fmt: skip
        if code > 128:
            found["signal"] = code - 128
        message = self.message_file.read_bytes()[:4096]
        if not message and code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = tail(self.log_file, MESSAGE_MAX)
        if message:
            found["message"] = message.decode(errors="replace")
        return found

    def signal(self, number):
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self):
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def status(self):
        found = {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }
        if self.process is not None:
            found["containerID"] = f"process://{self.process.pid}"
        return found


def tail(path, count):
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as log:
        log.seek(max(0, path.stat().st_size - count))
        return log.read()
    return b""


def environment_of(pod, container, *, config_maps, secrets, server, mounts, own_mounts):
    """Everything in it: the machine's PATH, the API server's address, envFrom, env with $(NAME) expanded. Raises
    MissingSource."""
    host, _, port = server.rpartition("//")[2].rpartition(":")
    found = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
    }
    if not own_mounts:
        where = {target: str(source) for source, target, _ in mounts}
        found |= {name: where[path] for name, path in _EXPANDED.items() if path in where}
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or ():
        for key, objects in (("configMapRef", config_maps), ("secretRef", secrets)):
            if reference := source.get(key):
                values = _values(objects, namespace, reference, key[:-3])
                found |= {source.get("prefix", "") + name: raw.decode() for name, raw in values.items()}
    for one in container.get("env") or ():
        value = one.get("value", "")
        if source := one.get("valueFrom"):
            value = _value_from(source, pod, container, namespace, config_maps, secrets)
        if value is not None:
            found[one["name"]] = expanded(value, found)
    return found


def expanded(text, values):
    """`$(NAME)` as Kubernetes does it: unknown names stay, `$$` is a `$`."""
    parts, rest = [], text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        parts.append(before)
        if rest.startswith("$"):
            parts.append("$")
            rest = rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, rest = rest[1:].partition(")")
            parts.append(values.get(name, f"$({name})"))
        else:
            parts.append("$")
    return "".join([*parts, rest])


def _value_from(source, pod, container, namespace, config_maps, secrets):
    if reference := source.get("fieldRef"):
        return field(pod, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        kind, name = reference["resource"].split(".", 1)
        return str((container.get("resources") or {}).get(kind, {}).get(name, "0"))
    for key, objects in (("configMapKeyRef", config_maps), ("secretKeyRef", secrets)):
        if reference := source.get(key):
            values = _values(objects, namespace, reference, key[:-6])
            if reference["key"] in values:
                return values[reference["key"]].decode()
            if not reference.get("optional"):
                raise MissingSource(
                    f"couldn't find key {reference['key']} in {key[:-6]} {namespace}/{reference['name']}"
                )
    return None


def _values(objects, namespace, reference, word):
    obj = objects.get((namespace, reference["name"]))
    if obj is None:
        if reference.get("optional"):
            return {}
        raise MissingSource(f'{word.lower()} "{reference["name"]}" not found')
    return contents(obj)
