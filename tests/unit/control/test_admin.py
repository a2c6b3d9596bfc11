"""The admin API over ASGI: its shapes, its errors, its streams."""

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

import httpx
import pytest

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.control.admin import AdminInfo, admin_app
from plimsoll.control.controller import Controller
from plimsoll.control.timeline import Kind
from plimsoll.core.snapshot import GatewayReport, ServiceReport

SERVICE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood, namespace: shop, labels: {tier: online}}
spec:
  model: {path: ./model.py}
  routes: [{path: /mood}]
  budget: {latency: {p99: 100ms}, errorRate: 0.1%}
"""


class Site:
    """A controller over the fake backend, its admin API, a client of it."""

    def __init__(self, folder: Path) -> None:
        (folder / "model.py").write_text("class Mood: ...\n")
        self.file = str(folder / "service.yaml")
        self.clock = ManualClock()
        self.backend = FakeBackend(self.clock, script=lambda *_: Life(startup_s=0.5, log=("loading", "loaded")))
        self.controller = Controller(self.backend, run_dir=folder / "run", clock=self.clock, wall=lambda: 1700000000.0)
        self.metrics: dict[str, str] = {}
        info = AdminInfo(gateway="http://localhost:8080", admin="http://localhost:8090", metrics=self.metrics)
        transport = httpx.ASGITransport(admin_app(self.controller, info), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def apply(self, text=SERVICE):
        return await self.client.post("/v1/services", json={"documents": [{"text": text, "file": self.file}]})

    async def ready(self):
        await self.apply()
        for _ in range(2):
            await self.controller.tick()
            self.clock.move_to(1.0)
            self.backend.settle()
        await self.controller.tick()


def admin(test):
    """Runs an async test in a folder short enough for a socket."""

    def run():
        folder = Path(tempfile.mkdtemp(dir="/tmp"))
        try:
            asyncio.run(test(Site(folder)))
        finally:
            shutil.rmtree(folder)

    run.__name__ = test.__name__
    return run


@admin
async def test_a_service_applied_is_listed_with_everything_about_it(site):
    answer = await site.apply()
    assert answer.status_code == 200
    (applied,) = answer.json()["applied"]
    assert (applied["name"], applied["revision_number"], applied["change"]) == ("mood", 1, "created")
    assert applied["not_honoured"][0].startswith("metadata.namespace")
    await site.ready()
    report = ServiceReport("mood", 9.5, {"ok": 10}, 0.01, 0.02, 0.03)
    site.controller.stream.reports.take(GatewayReport("g", 1, (report,)))
    (status,) = (await site.client.get("/v1/services")).json()["services"]
    assert status == (await site.client.get("/v1/services/mood")).json()
    assert status["revision"] == applied["revision"]
    (instance,) = status.pop("instances")
    assert instance["phase"] == "ready"
    scaling = status.pop("scaling")
    assert (scaling["policy"], scaling["min_replicas"], scaling["max_replicas"]) == ("budget", 1, 1)
    assert (scaling["wanted"], scaling["by_hand"], scaling["holding"]) == (None, None, "")  # nothing to decide
    assert {key: status[key] for key in status if key not in {"revision", "not_honoured"}} == {
        "name": "mood",
        "phase": "Ready",
        "message": "",
        "revision_number": 1,
        "url": "http://localhost:8080/mood",
        "routes": ["/mood"],
        "replicas": {"ready": 1, "wanted": 1},
        "requests_per_s": 9.5,
        "in_flight": 0,
        "held": 0,
        "latency": {"p50_s": 0.01, "p95_s": 0.02, "p99_s": 0.03},
        "budget": {"p50_s": None, "p95_s": None, "p99_s": 0.1, "error_rate": 0.001, "window_s": 300.0},
        "error_rate": 0.0,
        "inside_budget": True,
        "outcomes": {"ok": 10},
        "hints": [],
        "labels": {"tier": "online"},
        "file": site.file,
        "timeout_s": 0.2,
        "target_s": 0.1,
        "anonymous": True,
        "cache": None,
        "fallback": [],
    }


@admin
async def test_wrong_files_are_422_with_every_problem(site):
    answer = await site.apply(SERVICE.replace("routes", "rotues").replace("0.1%", "lots"))
    assert answer.status_code == 422
    problems = answer.json()
    assert len(problems["errors"]) == 2
    assert problems["error"] == problems["errors"][0]
    assert f"{site.file}:6  spec.rotues: unknown key; did you mean routes?" in problems["errors"]
    missing = await site.apply(SERVICE.replace("model.py", "gone.py"))
    assert missing.status_code == 422
    assert missing.json()["errors"] == [f"{site.file}:5  spec.model.path: ./gone.py does not exist"]
    assert (await site.client.get("/v1/services")).json() == {"services": []}


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'{"documents": 1}', b'{"docs": []}', b'{"documents": [{"file": "x"}]}', b"\xff"]
)
def test_an_unreadable_body_is_400(body):
    @admin
    async def check(site):
        answer = await site.client.post("/v1/services", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("the body is not as expected")

    check()


@admin
async def test_scaling_and_deleting(site):
    await site.ready()
    scaled = await site.client.post("/v1/services/mood/scale", json={"replicas": 3})
    assert scaled.json()["replicas"]["wanted"] == 3
    assert (await site.client.post("/v1/services/mood/scale", json={"replicas": -1})).status_code == 422
    assert (await site.client.post("/v1/services/mood/scale", json={"replicas": "many"})).status_code == 400
    back = await site.client.post("/v1/services/mood/scale", json={"replicas": None})
    assert back.json()["replicas"]["wanted"] == 1
    assert (await site.client.delete("/v1/services/mood")).json() == {"deleted": "mood"}
    assert (await site.client.delete("/v1/services/mood")).status_code == 404


@admin
async def test_unknown_names_and_paths_are_404_in_the_same_shape(site):
    await site.ready()
    for method, path in (
        ("GET", "/v1/services/moood"),
        ("GET", "/v1/services/moood/logs"),
        ("POST", "/v1/services/moood/scale"),
        ("DELETE", "/v1/services/moood"),
    ):
        answer = await site.client.request(method, path, json={"replicas": 1})
        assert answer.status_code == 404
        assert answer.json()["error"] == "no service is named 'moood'; there are: mood"
    assert (await site.client.get("/nothing")).json()["errors"] == ["Not Found"]
    assert (await site.client.put("/v1/services")).status_code == 405


@admin
async def test_a_bug_is_a_500_with_one_line(site):
    def broken():
        raise RuntimeError("a bug")

    site.controller.statuses = broken
    answer = await site.client.get("/v1/services")
    assert (answer.status_code, answer.json()["error"]) == (500, "RuntimeError: a bug")


@admin
async def test_events_are_lines_of_json_from_where_the_reader_was(site):
    await site.ready()
    lines = (await site.client.get("/v1/events")).text.splitlines()
    events = [json.loads(line) for line in lines]
    assert [(event["seq"], event["kind"]) for event in events] == [(1, "applied"), (2, "ready")]
    assert events[1] | {"seconds": 0} == {
        "seq": 2,
        "at": 1700000000.0,
        "service": "mood",
        "kind": "ready",
        "message": "rev 1   1/1 ready in 1.0 s",
        "level": "info",
        "revision": events[1]["revision"],
        "revision_number": 1,
        "ready": 1,
        "wanted": 1,
        "seconds": 0,
    }
    assert len((await site.client.get("/v1/events?since=1")).text.splitlines()) == 1
    assert (await site.client.get("/v1/events?since=2")).text == ""
    assert (await site.client.get("/v1/events?since=yesterday")).status_code == 400


@admin
async def test_followed_events_end_when_the_controller_does(site):
    asked = asyncio.create_task(site.client.get("/v1/events?follow=1"))
    await asyncio.sleep(0)
    site.controller.timeline.record("mood", Kind.SCALED, "scaled to 2", replicas=2)
    await site.controller.close()
    answer = await asyncio.wait_for(asked, 5)
    assert json.loads(answer.text)["replicas"] == 2


@admin
async def test_logs_and_those_that_come_while_following(site):
    await site.ready()
    (replica,) = site.backend.observe()
    everything = [f"{replica.id} loading", f"{replica.id} loaded"]
    assert (await site.client.get("/v1/services/mood/logs")).text.splitlines() == everything
    assert (await site.client.get("/v1/services/mood/logs?lines=1")).text.splitlines() == everything[1:]
    assert (await site.client.get("/v1/services/mood/logs?replica=other")).text == ""
    logs, read = site.backend.logs, asyncio.Queue()

    def reading(*args, **options):
        lines = logs(*args, **options)
        read.put_nowait(lines)
        return lines

    site.backend.logs = reading
    asked = asyncio.create_task(site.client.get("/v1/services/mood/logs?lines=1&follow=1"))
    async with asyncio.timeout(30):
        for _ in range(2):  # it has told what was there; what is written now comes by following
            await read.get()
        site.backend._write("mood", replica.id, "later")
        while f"{replica.id} later" not in await read.get():
            pass
        await site.controller.close()
        answer = await asked
    assert answer.text.splitlines() == [everything[1], f"{replica.id} later"]


@admin
async def test_metrics_of_all_in_one_text(site):
    await site.ready()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = b"# TYPE plimsoll_up gauge\nplimsoll_up 1\n"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    folder = Path(site.file).parent
    server = await asyncio.start_unix_server(answer, str(folder / "g.sock"))
    site.metrics |= {"gateway-0": f"unix:{folder}/g.sock", "gone": f"unix:{folder}/gone.sock"}
    text = (await site.client.get("/metrics")).text
    assert 'plimsoll_up{gateway="gateway-0"} 1' in text
    assert 'plimsoll_replicas{phase="ready",service="mood"} 1.0' in text
    server.close()


@admin
async def test_info_health_and_the_page(site):
    info = (await site.client.get("/v1/info")).json()
    assert info["gateway"] == "http://localhost:8080"
    assert set(info) == {"version", "pid", "gateway", "admin", "started_at", "notes"}
    assert (await site.client.get("/healthz")).text == "ok\n"
    page = await site.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text  # nothing from anywhere else
