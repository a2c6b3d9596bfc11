"""An in-memory cluster in a thread of this process: `async with FakeCluster() as cluster` or `with FakeCluster()`."""

import asyncio
import base64
import contextlib
import os
import socket
import tempfile
import threading
from pathlib import Path

import uvicorn
import yaml
from tests.kube.api import Api
from tests.kube.authority import Authority
from tests.kube.controllers import Controllers
from tests.kube.controllers.autoscaler import Autoscaler
from tests.kube.hollow import HollowKubelet
from tests.kube.server import Server


class FakeCluster:
    """`controllers`: also run the mini controllers (garbage collector, namespaces, workloads, EndpointSlices);
    `hollow`: pods get addresses and are ready without a process (hollow.py).

    url, ca_file, kubeconfig (a file of admin's); kubeconfig_of("system:serviceaccount:ns:name") for others.
    """

    def __init__(self, *, controllers=True, hollow=False, port=0, host="127.0.0.1"):
        self._folder = tempfile.TemporaryDirectory(prefix="plimsoll-kube-")
        self.folder = Path(self._folder.name)
        self._certify()
        self.api = Api()
        self.server = Server(self.api, self.front_proxy, self.ca_file)
        self.log, self.faults = self.server.log, self.server.faults
        self._with_controllers, self._with_hollow = controllers, hollow
        self._host, self.port = host, port
        self._ready = threading.Event()
        self._loop = self._thread = self._http = None
        self.controllers = self.hollow = None
        self._stopping = None

    # --- life ---------------------------------------------------------------------------------------------------------
    def open(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True, name="kube")
        self._thread.start()
        self._ready.wait(30)
        return self

    def close(self):
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(30)
            self._thread = None
        self._folder.cleanup()

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()

    async def __aenter__(self):
        return await asyncio.to_thread(self.open)

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.close)

    async def _run(self):
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._listen()
        if self._with_controllers:
            self.hollow = HollowKubelet(self.api)
            self.autoscaler = Autoscaler(self.api, self.server.aggregation)
            others = [self.autoscaler, self.server.aggregation, *([self.hollow] if self._with_hollow else [])]
            self.controllers = Controllers(self.api, *others)
            self.controllers.start()
        self._ready.set()
        await self._stopping.wait()
        if self.controllers is not None:
            await self.controllers.stop()
        await self._hang_up()

    async def _listen(self):
        # with its protocol named, asyncio turns Nagle off: 1 ms instead of 44 for a small request
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((self._host, self.port))
        self.port = held.getsockname()[1]
        config = uvicorn.Config(self.server.app, log_level="error", lifespan="off", timeout_keep_alive=3600,
                                ssl_certfile=self._serving[0], ssl_keyfile=self._serving[1],
                                timeout_graceful_shutdown=1, access_log=False, http="httptools",
                                interface="asgi3", proxy_headers=False)  # fmt: skip
        http = uvicorn.Server(config)
        config.load()
        http.lifespan = config.lifespan_class(config)
        await http.startup(sockets=[held])
        self._http = http, held, asyncio.ensure_future(http.main_loop())

    async def _hang_up(self):
        if self._http is None:
            return
        (http, held, loop), self._http = self._http, None
        http.should_exit = http.force_exit = True
        self._abort(http)
        await loop
        await http.shutdown(sockets=[held])
        held.close()
        self._abort(http)  # who came while it was ending

    @staticmethod
    def _abort(http):
        for connection in list(http.server_state.connections):
            with contextlib.suppress(AttributeError):
                connection.transport.abort()

    def _in_loop(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(30)

    # --- faults -------------------------------------------------------------------------------------------------------
    def drop_connections(self):
        """Cuts every connection, watches too."""

        async def act():
            self._abort(self._http[0])

        self._in_loop(act())

    def stop(self):
        """The API server goes; what it stores stays. The controllers, who are not its clients, go on, but take no node
        for lost whose Lease nobody could renew."""
        if self.controllers is not None:
            self.controllers.nodes.blind(True)
        self._in_loop(self._hang_up())

    def start(self):
        """On the same port again."""
        self._in_loop(self._listen())
        if self.controllers is not None:
            self.controllers.nodes.blind(False)

    def answer(self, code, times=1, **which):
        self.faults.answer(code, times, **which)

    def compact(self):
        """Watches that resume from before get 410 Gone."""
        self.api.store.compact()

    # --- what is there ------------------------------------------------------------------------------------------------
    def objects(self, kind, namespace=""):
        """Copies of all objects of a kind (`Deployment`), whatever its group."""
        found = next(one for one in self.api.registry.kinds.values() if one.kind == kind)
        return [record.copy() for record in self.api.store.list(found.store, namespace)]

    def get(self, kind, name, namespace=""):
        return next((obj for obj in self.objects(kind, namespace) if obj["metadata"]["name"] == name), None)

    def apply(self, *objects, manager="test"):
        """Server-side apply, forced, without HTTP."""
        from tests.kube.api import Write
        from tests.kube.store import clone

        for obj in objects:
            kind = self.api.kind(obj["apiVersion"], obj["kind"])
            meta = obj["metadata"]
            namespace = meta.get("namespace", "default") if kind.namespaced else ""
            with self.api.store.lock:
                self.api.commit(
                    self.api.plan_apply(kind, namespace, meta["name"], clone(obj), "", Write(manager, force=True))
                )

    # --- how to reach it ----------------------------------------------------------------------------------------------
    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self):
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, token, namespace="default"):
        """A file. `token`: admin, or `USER:GROUP,GROUP`; a user's name with colons needs a last one: `a:b:`."""
        if token.startswith("system:serviceaccount:") and token.count(":") == 3:
            token += ":"  # access.py knows an account's groups
        path = self.folder / f"{base64.urlsafe_b64encode(token.encode()).decode()[-60:]}.kubeconfig"
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "memory", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "user", "namespace": namespace}}],
            "current-context": "memory",
        }
        path.write_text(yaml.safe_dump(config))
        os.chmod(path, 0o600)
        return path

    def _certify(self):
        self.authority, self.front_proxy = Authority(self.folder, "ca"), Authority(self.folder, "front-proxy-ca")
        names = ("localhost", "kubernetes.default.svc", "kubernetes.default", "kubernetes")
        self._serving = self.authority.sign("kube-apiserver", dns=names, ips=("127.0.0.1",))
        self.ca_file = self.authority.cert
