"""A replica in a pod, as a process: what it reads, how it ends, what it leaves for the kubelet, and what it enforces
when requests come past the gateway."""

import asyncio
import json

import pytest
from tests.support.gateway_host import Client
from tests.support.pods import MODEL, Stage


@pytest.fixture
def play(tmp_path):
    def run(test, seconds=90):
        async def main():
            async with Stage(tmp_path) as stage, asyncio.timeout(seconds):
                await test(stage)

        asyncio.run(main())

    return run


async def ended(pod):
    return await asyncio.to_thread(pod.process.wait, 60)


def test_what_it_is_asked_for_and_what_it_says_of_itself(play):
    async def test(stage):
        pod = await stage.pod("mood-7c9ab1f2d0-6d4b8-aaaaa", PLIMSOLL_REVISION="mood-7c9ab1f2d0").ready()
        answer = await pod.post("/mood")
        assert json.loads(answer.body) == {"pod": pod.name}
        assert answer["plimsoll-revision"] == "mood-7c9ab1f2d0"
        assert (await pod.ask("GET", "/v2/models/mood")).status == 200
        assert (await pod.ask("GET", "/metrics")).status == 404
        metrics = (await pod.ask("GET", "/metrics", port=9090)).body
        assert b'plimsoll_requests_total{outcome="ok",revision="mood-7c9ab1f2d0",service="mood"} 1.0' in metrics
        reader, writer = await asyncio.open_connection(pod.ip, 9090)
        writer.write(b"GET /plimsoll/state HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        ready, load = [json.loads(await reader.readline()) for _ in range(2)]
        assert (ready["event"], ready["address"]) == ("ready", f"tcp:{pod.ip}:8080")
        assert (load["event"], load["requests"]) == ("load", 2)  # one found nothing
        assert await pod.end() == 0
        said = [json.loads(line)["event"] for line in (await reader.read()).splitlines()]
        assert "draining" in said
        writer.close()
        assert all({"at", "level", "message", "service", "revision", "replica"} <= one.keys() for one in pod.lines(""))

    play(test)


def test_at_its_end_it_answers_what_it_has(play):
    async def test(stage):
        pod = await stage.pod("mood-1-aaaaa", spec={"timeout": "20s"}).ready()
        client = await Client.connect(f"tcp:{pod.ip}:8080")
        client.send("POST", "/mood", b'{"s": 1.5}')
        await _busy(pod)
        ending = asyncio.ensure_future(pod.end())
        assert (await client.receive()).status == 200
        client.close()
        assert await ending == 0
        assert not pod.termination.exists()

    play(test)


async def _busy(pod):
    async def one_in_flight():
        page = (await pod.ask("GET", "/metrics", port=9090)).body
        return any(line.startswith(b"plimsoll_in_flight") and line.endswith(b" 1.0") for line in page.splitlines())

    async with asyncio.timeout(20):
        while not await one_in_flight():  # noqa: ASYNC110 # another process's state
            await asyncio.sleep(0.01)


BROKEN = [
    ("raise ValueError('no weights here')\n", 3, "mood.py:1: ", "no weights here"),
    (
        MODEL.replace("def predict", "def load(self):\n        1 / 0\n\n    def predict"),
        3,
        "mood.py:",
        "ZeroDivisionError",
    ),
]


@pytest.mark.parametrize(("model", "code", "place", "words"), BROKEN)
def test_a_model_that_does_not_load_is_told_to_the_kubelet(play, model, code, place, words):
    async def test(stage):
        pod = stage.pod("mood-1-aaaaa", model=model)
        assert await ended(pod) == code
        text = pod.termination.read_text()
        assert place in text
        assert words in text
        assert str(stage.folder) not in text.splitlines()[0]  # the file as its author knows it
        assert pod.lines("model did not load")

    play(test)


def test_what_it_cannot_use_ends_it_with_two(play):
    async def test(stage):
        nowhere = stage.pod("a-1-aaaaa", PLIMSOLL_CONFIG_DIR=str(stage.folder / "none"))
        wrong = stage.pod("b-1-aaaaa", spec={"replica": 3})
        empty = stage.pod("c-1-aaaaa", PLIMSOLL_MODEL_PATH=str(stage.folder / "certificates"))
        words = {
            nowhere: "service.json can't be read: No such file or directory; mount the revision's ConfigMap there",
            wrong: "spec.replica",
            empty: "none can be it (mood is a Python model)",
        }
        for pod, text in words.items():
            assert await ended(pod) == 2
            assert text in pod.termination.read_text()
            assert text in pod.log.read_text()

    play(test)


def test_a_predict_that_hangs_ends_it(play):
    async def test(stage):
        pod = await stage.pod("mood-1-aaaaa", spec={"runtime": {"predictTimeout": "500ms"}, "timeout": "5s"}).ready()
        assert (await pod.post("/mood", {"s": 60})).outcome == "model_error"
        assert await ended(pod) == 4
        assert "predict exceeded runtime.predictTimeout" in pod.termination.read_text()

    play(test)


def test_past_the_gateway_deadline_and_budget_hold_and_nobodys_word_is_taken(play):
    async def test(stage):
        spec = {"budget": {"latency": {"p99": "200ms"}}, "timeout": "400ms", "batching": {"maxSize": 1}}
        pod = await stage.pod("mood-1-aaaaa", spec=spec).ready()
        for _ in range(20):  # it learns what one takes
            assert (await pod.post("/mood", {"s": 0.04})).status == 200
        # Forty at once are 1.6 s of work: what can't be in time is refused at the door, none is late by much.
        marks = [("plimsoll-priority", "900"), ("plimsoll-tenant", "vip"), ("plimsoll-deadline-ms", "60000")]
        answers = await asyncio.gather(*(pod.post("/mood", {"s": 0.04}, headers=marks) for _ in range(40)))
        outcomes = {outcome: [a.outcome for a in answers].count(outcome) for outcome in {a.outcome for a in answers}}
        assert outcomes["ok"] >= 1
        assert outcomes.get("shed", 0) + outcomes.get("expired", 0) >= 20, outcomes
        assert set(outcomes) <= {"ok", "shed", "expired"}
        late = await pod.post("/mood", {"s": 0.04}, headers=[("plimsoll-deadline-ms", "0")])
        assert late.outcome == "expired"

    play(test)
