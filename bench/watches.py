"""What an event of a watched object costs: kopf's `on.event` beside the operator's own watch.

    python -m bench.watches [--events 5000]

A server of a few lines streams the same pods to both, each in a process of its own: CPU and memory are the client's.
Without kopf (`pip install kopf`) its row is left out, and the table says so.
"""

import argparse
import asyncio
import copy
import importlib.util
import json
import subprocess
import sys
import time

import psutil

_META = {"name": "p", "namespace": "shop", "labels": {"plimsoll.dev/service": "mood", "team": "x" * 30}}
_FIELDS = {"manager": "kubelet", "operation": "Update", "fieldsV1": {f"f:{index}": {"f:x": {}} for index in range(60)}}
_ENV = [{"name": f"E{index}", "value": "v" * 20} for index in range(20)]
_CONDITIONS = [{"type": one, "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}
               for one in ("Ready", "Initialized", "PodScheduled", "ContainersReady")]  # fmt: skip
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": _META | {"managedFields": [_FIELDS]},
    "spec": {"containers": [{"name": "model", "image": "x", "env": _ENV}]},
    "status": {"phase": "Running", "conditions": _CONDITIONS},
}
READ = ["list", "watch", "patch", "get"]


def lines(events: int) -> list[bytes]:
    """Each of a thousand pods changes several times."""
    found = []
    for index in range(events):
        pod = copy.deepcopy(POD)
        pod["metadata"] |= {"name": f"p{index % 1000}", "uid": f"u{index % 1000}", "resourceVersion": str(index + 2)}
        pod["status"]["podIP"] = f"10.0.0.{index}"
        found.append(json.dumps({"type": "MODIFIED", "object": pod}).encode() + b"\n")
    return found


def serve(events: int) -> None:
    """Prints its port. kopf looks at definitions and namespaces of the whole cluster first."""
    from aiohttp import web

    def resources(group, *names):
        found = [{"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": READ}
                 for name, namespaced, kind in names]  # fmt: skip
        return {"kind": "APIResourceList", "groupVersion": group, "resources": found}

    def said(body):
        async def answer(_):
            return web.json_response(body)

        return answer

    def watched(stream):
        async def answer(request):
            if "watch" not in request.query:
                return web.json_response({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []})
            response = web.StreamResponse()
            await response.prepare(request)
            for index in range(0, len(stream), 50):
                await response.write(b"".join(stream[index : index + 50]))
            await asyncio.Event().wait()
            return response

        return answer

    group = "apiextensions.k8s.io/v1"
    version = {"groupVersion": group, "version": "v1"}
    groups = [{"name": "apiextensions.k8s.io", "versions": [version], "preferredVersion": version}]
    core = resources("v1", ("pods", True, "Pod"), ("namespaces", False, "Namespace"), ("events", True, "Event"))
    app = web.Application()
    app.router.add_get("/api", said({"kind": "APIVersions", "versions": ["v1"]}))
    app.router.add_get("/apis", said({"kind": "APIGroupList", "groups": groups}))
    app.router.add_get("/api/v1", said(core))
    definitions = ("customresourcedefinitions", False, "CustomResourceDefinition")
    app.router.add_get(f"/apis/{group}", said(resources(group, definitions)))
    app.router.add_get("/api/v1/namespaces", watched([]))
    app.router.add_get(f"/apis/{group}/customresourcedefinitions", watched([]))
    app.router.add_get("/api/v1/pods", watched(lines(events)))

    async def run():
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def measured(run, url: str, events: int) -> None:
    """Prints what `run(url, events)` took."""
    process = psutil.Process()
    cpu_s, began = time.process_time(), time.monotonic()
    asyncio.run(run(url, events))
    print(json.dumps({
        "cpu_ms": 1000 * (time.process_time() - cpu_s) / events,
        "rss_mb": process.memory_info().rss / 1e6,
        "wall_s": time.monotonic() - began,
    }))  # fmt: skip
    sys.stdout.flush()


async def with_kopf(url: str, events: int) -> None:
    import logging

    import kopf

    logging.disable(logging.CRITICAL)
    registry, settings, done, seen = kopf.OperatorRegistry(), kopf.OperatorSettings(), asyncio.Event(), [0]
    settings.posting.enabled = False

    @kopf.on.login(registry=registry)
    def login(**_):
        return kopf.ConnectionInfo(server=url)

    @kopf.on.event("v1", "pods", registry=registry)
    async def event(**_):
        seen[0] += 1
        if seen[0] >= events:
            done.set()

    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True)
    )
    await done.wait()
    operator.cancel()
    await asyncio.wait([operator], timeout=1)


async def with_watch(url: str, events: int) -> None:
    import httpx2

    from plimsoll.backends.kubernetes.api import Api, path_of
    from plimsoll.backends.kubernetes.watching import Watch

    done, seen = asyncio.Event(), [0]

    def keep(obj):
        seen[0] += 1
        if seen[0] >= events:
            done.set()
        return obj["status"]["podIP"]

    watch = Watch(Api(httpx2.AsyncClient(base_url=url, trust_env=False)), path_of("v1", "pods"), keep=keep)
    task = asyncio.create_task(watch.run())
    await done.wait()
    task.cancel()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--events", type=int, default=5000)
    options.add_argument("--as", dest="role", choices=["server", "kopf", "watch"], help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.role == "server":
        return serve(given.events)
    if given.role is not None:
        return measured(with_kopf if given.role == "kopf" else with_watch, given.url, given.events)
    me = [sys.executable, "-m", "bench.watches", "--events", str(given.events), "--as"]
    print(f"{'':<8} {'CPU an event, ms':>17} {'RSS, MB':>9} {'in all, s':>10}")
    for role in ("kopf", "watch"):
        if role == "kopf" and importlib.util.find_spec("kopf") is None:
            print("kopf     is not installed: pip install kopf")
            continue
        server = subprocess.Popen([*me, "server"], stdout=subprocess.PIPE, text=True)
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            ran = subprocess.run([*me, role, "--url", url], stdout=subprocess.PIPE, text=True, timeout=300, check=True)
            row = json.loads(ran.stdout)
            print(f"{role:<8} {row['cpu_ms']:>17.3f} {row['rss_mb']:>9.0f} {row['wall_s']:>10.1f}")
        finally:
            server.kill()
            server.wait()
    return None


if __name__ == "__main__":
    main()
