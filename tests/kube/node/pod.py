"""One pod's life on a node: volumes, init containers, containers with probes and restarts, its status, its end."""

import asyncio
import contextlib
import copy
import signal
import time
from pathlib import Path

from tests.kube.client import MERGE
from tests.kube.errors import ApiError
from tests.kube.node import containers
from tests.kube.node.probes import Probe, port_of
from tests.kube.node.reflector import cancelled, insistent
from tests.kube.node.status import PodStatus
from tests.kube.node.tokens import Tokens
from tests.kube.node.volumes import TOKEN_PATH, MissingSource, Volumes

_SIDECAR = "Always"


class PodRunner:
    """`kubelet`: what pods share (settings, client, caches). `run()` ends when the pod is over and, where it was
    deleted, gone."""

    def __init__(self, kubelet, pod, node):
        self._kubelet, self.pod, self._node = kubelet, pod, node
        meta = pod["metadata"]
        self.key, self.uid = (meta["namespace"], meta["name"]), meta["uid"]
        self.folder = kubelet.folder / node / self.uid
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = kubelet.addresses.take()
        self.volumes = Volumes(pod, self.folder, kubelet.folder / node, config_maps=kubelet.config_maps.objects,
                               secrets=kubelet.secrets.objects, token=Tokens(kubelet.client, pod).get,
                               authority=kubelet.authority)  # fmt: skip
        spec = pod["spec"]
        self.init = [containers.Container(one, self.folder / one["name"]) for one in spec.get("initContainers") or ()]
        self.main = [containers.Container(one, self.folder / one["name"]) for one in spec["containers"]]
        self._status = PodStatus(self.address, self.main, self.init)
        self._initialized = False
        self._ending = asyncio.Event()
        self._forced = asyncio.Event()
        self._grace_s = None
        self._waiters = []
        self._streaks = {}  # container's name -> restarts in a row
        self._changed = asyncio.Event()
        self._written = None
        self._tasks = set()
        self.over = False  # the node died: nothing is written any more

    # --- from outside -------------------------------------------------------------------------------------------------
    def update(self, pod):
        """A newer version of the object."""
        self.pod = pod
        if self._written is not None and self._disputed(pod):
            self._written = None
            self._changed.set()
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            grace_s = meta.get("deletionGracePeriodSeconds", 30)
            self._grace_s = grace_s if self._grace_s is None else min(self._grace_s, grace_s)
            if self._grace_s == 0:
                self._forced.set()
            self._ending.set()

    def _disputed(self, pod):
        """Whether somebody else changed a condition of ours: the node lifecycle controller, who thought us dead."""
        theirs = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or ()}
        return any(theirs.get(one["type"]) != one["status"] for one in self._written["conditions"])

    def gone(self):
        """The object was removed without waiting for us."""
        self._grace_s = 0
        self._forced.set()
        self._ending.set()

    def kill(self):
        """As if the node lost its power."""
        self.over = True
        for container in [*self.init, *self.main]:
            container.kill()

    async def killed(self):
        """After `kill`: when its processes are gone."""
        for container in [*self.init, *self.main]:
            if container.process is not None:
                await container.process.wait()

    async def refresh(self):
        """ConfigMaps, Secrets and tokens may have changed."""
        with contextlib.suppress(MissingSource, ApiError, OSError):
            await self.volumes.write()

    # --- its life -----------------------------------------------------------------------------------------------------
    async def run(self):
        writer = asyncio.ensure_future(self._write_status())
        living = asyncio.ensure_future(self._live())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
            await ending
            await self._end(living)
            if not self.over:
                self._changed.set()
                await cancelled(writer)
                await self._remove()
        finally:
            for container in [*self.init, *self.main]:
                container.kill()
            await cancelled(writer, living, ending, *self._tasks)
            self._kubelet.addresses.give_back(self.address)

    async def _live(self):
        await self._prepare()
        for container in self.init:
            await self._run_init(container)
        self._initialized = True
        self._say()
        await asyncio.gather(*(self._keep(container) for container in self.main))

    async def _prepare(self):
        """Volumes; waits for what they need."""
        while True:
            try:
                await self.volumes.write()
                return
            except MissingSource as error:
                self._wait_for(self.init or self.main, "ContainerCreating", "")
                await self._kubelet.event(self.pod, "FailedMount", f"MountVolume.SetUp failed: {error}", "Warning")
                await asyncio.sleep(self._kubelet.retry_s)

    async def _run_init(self, container):
        if container.spec.get("restartPolicy") == _SIDECAR:
            task = asyncio.ensure_future(self._keep(container))
            self._tasks.add(task)
            while not container.started:
                await self._next_change()
            return
        while True:
            await self._start(container)
            code = await container.wait()
            self._say()
            if code == 0:
                container.ready = True
                return
            if self.over or self.pod["spec"].get("restartPolicy") == "Never":
                await asyncio.Event().wait()  # Failed; nothing more happens until it is deleted
            await self._back_off(container)

    async def _keep(self, container):
        """Runs a container, again and again as its restart policy says."""
        while True:
            await self._start(container)
            probes = [asyncio.ensure_future(self._probe(container))]
            code = await container.wait()
            await cancelled(*probes)
            self._say()
            policy = container.spec.get("restartPolicy") or self.pod["spec"].get("restartPolicy", "Always")
            if self.over or self._ending.is_set() or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            await self._back_off(container)

    async def _start(self, container):
        """Until it runs: waits for its image and for what its environment needs."""
        while True:
            problem = self._kubelet.image_problem(container.spec.get("image", ""))
            if problem:
                await self._no_image(container, problem)
                continue
            try:
                place = self._place(container)
                argv = self._argv(container, place.environment)
            except MissingSource as error:
                self._wait_for([container], "CreateContainerConfigError", str(error))
                await self._kubelet.event(self.pod, "Failed", f"Error: {error}", "Warning")
                await asyncio.sleep(self._kubelet.retry_s)
                continue
            await container.start(place, argv)
            container.started = "startupProbe" not in container.spec
            container.ready = container.started and "readinessProbe" not in container.spec
            self._say()
            return

    async def _no_image(self, container, problem):
        image = container.spec.get("image", "")
        self._wait_for([container], "ErrImagePull", problem)
        await self._kubelet.event(self.pod, "Failed", f'Failed to pull image "{image}": {problem}', "Warning")
        await asyncio.sleep(self._kubelet.retry_s / 2)
        self._wait_for([container], "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {problem}')
        await asyncio.sleep(self._kubelet.retry_s)

    async def _back_off(self, container):
        """The time doubles with each restart and starts anew after ten minutes of running."""
        streak = 0 if container.ran_s > 600 else self._streaks.get(container.name, 0)
        self._streaks[container.name] = streak + 1
        delay_s = min(self._kubelet.backoff_max_s, self._kubelet.backoff_s * 2**streak)
        container.last_state = container.state
        name, uid = "_".join(reversed(self.key)), self.uid
        text = f"back-off {delay_s:g}s restarting failed container={container.name} pod={name}({uid})"
        container.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        self._say()
        event = f"Back-off restarting failed container {container.name} in pod {name}({uid})"
        await self._kubelet.event(self.pod, "BackOff", event, "Warning")
        await asyncio.sleep(delay_s)
        container.restarts += 1  # with the next start, not with the end: until then its log is the last life's

    # --- what a container gets ----------------------------------------------------------------------------------------
    def _place(self, container):
        mounts = []
        for mount in self._mounts(container):
            source = self.volumes.folder(mount["name"])
            if part := mount.get("subPath"):
                source = source / part
                if not source.exists():
                    source.mkdir(parents=True)
            target = mount["mountPath"].rstrip("/") or "/"
            mounts.append((source, target, mount.get("readOnly", False)))
        mounts.append((self._kubelet.proxy.hosts, "/etc/hosts", False))
        mounts.append((self._kubelet.proxy.host_conf, "/etc/host.conf", False))
        path = container.spec.get("terminationMessagePath", "/dev/termination-log")
        container.message_file.touch()
        mounts.append((container.message_file, path, False))
        own = self._kubelet.own_mounts
        if own:
            for source, target, _ in mounts:
                self._kubelet.mount_points.make(Path(target), is_file=source.is_file())
        environment = containers.environment_of(
            self._with_address(), container.spec, config_maps=self._kubelet.config_maps.objects,
            secrets=self._kubelet.secrets.objects, server=self._kubelet.client.url, mounts=mounts, own_mounts=own,
        )  # fmt: skip
        return containers.Place(mounts, environment, own)

    def _mounts(self, container):
        found = list(container.spec.get("volumeMounts") or ())
        if self.volumes.adds_token:
            found.append({"name": "kube-api-access", "mountPath": TOKEN_PATH, "readOnly": True})
        return found

    def _with_address(self):
        pod = copy.deepcopy(self.pod)
        pod.setdefault("status", {}).update(podIP=self.address, podIPs=[{"ip": self.address}], hostIP="127.0.0.1")
        return pod

    def _argv(self, container, environment):
        spec = container.spec
        argv = [containers.expanded(part, environment) for part in self._kubelet.command_of(spec)]
        if not argv:
            raise MissingSource(f"no command specified for image {spec.get('image')!r}")
        return argv

    # --- probes -------------------------------------------------------------------------------------------------------
    async def _probe(self, container):
        """Startup first, then readiness and liveness side by side."""
        spec = container.spec
        if "startupProbe" in spec:
            done = asyncio.Event()
            task = asyncio.ensure_future(self._run_probe(container, "startupProbe", done))
            try:
                await done.wait()
            finally:
                task.cancel()
        container.started = True
        if "readinessProbe" not in spec:
            container.ready = True
        self._say()
        names = [name for name in ("readinessProbe", "livenessProbe") if name in spec]
        await asyncio.gather(*(self._run_probe(container, name) for name in names))

    async def _run_probe(self, container, name, done=None):
        place = None

        async def execute(command):
            nonlocal place
            place = place or self._place(container)
            process = await asyncio.create_subprocess_exec(
                *place.command(command), stdout=-1, stderr=-2, env=place.environment
            )
            told, _ = await process.communicate()
            return process.returncode, told.decode(errors="replace")

        def changed(good, message):
            if good and done is not None:
                done.set()
            elif name == "readinessProbe":
                container.ready = bool(good)
                self._say()
            if not good:
                word = name.removesuffix("Probe").capitalize()
                text = f"{word} probe failed: {message}"
                self.later(self._kubelet.event(self.pod, "Unhealthy", text, "Warning"))
                if name != "readinessProbe":
                    self.later(self._stop_container(container, self._patience_s()))

        await Probe(container.spec[name], container.spec, self.address, execute).run(changed)

    def later(self, awaitable):
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _patience_s(self):
        return self.pod["spec"].get("terminationGracePeriodSeconds", 30)

    # --- its end ------------------------------------------------------------------------------------------------------
    async def _end(self, living):
        grace_s = self._grace_s if self._grace_s is not None else self._patience_s()
        self._say()
        sidecars = [one for one in self.init if one.spec.get("restartPolicy") == _SIDECAR]
        mains = [one for one in [*self.init, *self.main] if one not in sidecars]
        for group in (mains, sidecars):
            await asyncio.gather(*(self._stop_container(one, grace_s) for one in group))
        await cancelled(living)
        self._say()

    async def _stop_container(self, container, grace_s):
        """preStop, SIGTERM, what is left of the grace period (at least two seconds), SIGKILL."""
        if container.process is None or container.process.returncode is not None:
            return
        ends = time.monotonic() + grace_s
        if grace_s > 0:
            hook = (container.spec.get("lifecycle") or {}).get("preStop")
            if hook:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self._pre_stop(container, hook)
            container.signal(signal.SIGTERM)
            left = asyncio.ensure_future(container.process.wait())
            forced = asyncio.ensure_future(self._forced.wait())
            limit_s = max(2.0, ends - time.monotonic())
            await asyncio.wait({left, forced}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            forced.cancel()
        container.kill()
        await container.process.wait()
        await asyncio.sleep(0)  # so that who keeps it sees its end first

    async def _pre_stop(self, container, hook):
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            place = self._place(container)
            process = await asyncio.create_subprocess_exec(*place.command(hook["exec"]["command"]),
                                                           env=place.environment)  # fmt: skip
            await process.wait()
        elif "httpGet" in hook:
            port = port_of(container.spec, hook["httpGet"]["port"])
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(self.address, port)
                writer.write(f"GET {hook['httpGet'].get('path', '/')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await writer.drain()
                writer.close()

    async def _remove(self):
        async def act():
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            with contextlib.suppress(ApiError):
                await self._patch_status()
            try:
                await self._kubelet.client.delete("Pod", self.key[1], self.key[0], **options)
            except ApiError as error:
                if error.code != 409:  # another pod has its name by now
                    raise

        await insistent(act)

    # --- status -------------------------------------------------------------------------------------------------------
    def _wait_for(self, which, reason, message):
        for container in which:
            container.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self._say()

    def _say(self):
        self._changed.set()
        for waiter in self._waiters:
            waiter.set()

    async def _next_change(self):
        event = asyncio.Event()
        self._waiters.append(event)
        await event.wait()
        self._waiters.remove(event)

    async def _write_status(self):
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await insistent(self._patch_status)

    async def _patch_status(self):
        status = self._status.of(self.pod, self._initialized)
        if status == self._written or self.over:
            return
        namespace, name = self.key
        patch = {"metadata": {"uid": self.uid}, "status": status}
        with contextlib.suppress(ApiError) if self._ending.is_set() else contextlib.nullcontext():
            await self._kubelet.client.patch("Pod", name, namespace, patch, content_type=MERGE, subresource="status")
        self._written = status
