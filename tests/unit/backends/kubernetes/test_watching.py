"""The watch over a server that says line by line what the test wants it to say."""

import asyncio
import json
import logging
import time
from dataclasses import replace

import httpx2
import pytest

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.pacing import PaceSettings
from plimsoll.backends.kubernetes.watching import Change, Key, Watch, WatchSettings

FAST = WatchSettings(page=2, pace=PaceSettings(first_s=0.001, away_s=0.01, refused_s=0.01))


def pod(name, version, **labels):
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version), "labels": labels}}


def listing(version, *items, more=None):
    meta = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return {"metadata": meta, "items": list(items)}


def line(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def gone(code=410, reason="Expired"):
    return {"kind": "Status", "code": code, "reason": reason, "message": "too old resource version"}


class Stream(httpx2.AsyncByteStream):
    """What a watch sends: bytes, errors to raise, and None: silence until somebody cancels it."""

    def __init__(self, parts):
        self.parts = parts

    async def __aiter__(self):
        for part in self.parts:
            if part is None:
                await asyncio.Event().wait()
            if isinstance(part, Exception):
                raise part
            yield part


class Server:
    """Answers each request with the next entry of `script`: a dict (status 200), (status, dict), a list (a watch), or
    None: it takes the request and never answers.
    When the script is over, watches are silent."""

    def __init__(self, *script):
        self.script, self.asked = list(script), []
        self.over = asyncio.Event()

    async def __call__(self, request):
        self.asked.append(dict(request.url.params))
        entry = self.script.pop(0) if self.script else [None]
        if not self.script:
            self.over.set()
        if isinstance(entry, Exception):
            raise entry
        if entry is None:
            await asyncio.Event().wait()
        if isinstance(entry, list):
            return httpx2.Response(200, stream=Stream(entry))
        code, body = entry if isinstance(entry, tuple) else (200, entry)
        return httpx2.Response(code, json=body)

    @property
    def lists(self):
        return sum("watch" not in params for params in self.asked)


def run(script, test, *, settings=FAST, **more):
    """`test(watch, server, told)` once everything in the script was asked for."""

    async def main():
        server, told = Server(*script), []
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url="http://api")
        api = Api(http)
        usual = {
            "keep": lambda obj: obj["metadata"]["resourceVersion"],
            "on_change": lambda change, key, kept: told.append((change, key.name, kept)),
        }
        watch = Watch(api, "/api/v1/pods", settings=settings, **usual | more)
        task = asyncio.create_task(watch.run())
        try:
            async with asyncio.timeout(10):
                await server.over.wait()
                for _ in range(20):  # what the last answer said is taken
                    await asyncio.sleep(0)
                await test(watch, server, told)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await api.close()

    asyncio.run(main())


def test_a_list_in_pages_then_each_change_once():
    async def test(watch, server, told):
        assert watch.objects == {Key("shop", "a"): "5", Key("shop", "c"): "3"}
        assert told == [
            (Change.ADDED, "a", "1"), (Change.ADDED, "b", "2"), (Change.ADDED, "c", "3"),
            (Change.MODIFIED, "a", "5"), (Change.DELETED, "b", "2"),
        ]  # fmt: skip
        assert watch.synced.is_set()
        assert [params.get("continue") for params in server.asked[:2]] == [None, "page-2"]
        assert server.asked[0]["limit"] == "2"
        assert server.asked[2]["resourceVersion"] == "4"
        assert server.asked[0]["labelSelector"] == "app=x"

    script = [
        listing(4, pod("a", 1), pod("b", 2), more="page-2"),
        listing(4, pod("c", 3)),
        [line("MODIFIED", pod("a", 5)), line("MODIFIED", pod("a", 5)), line("DELETED", pod("b", 6)), None],
    ]
    run(script, test, label_selector="app=x")


def test_a_watch_that_ends_goes_on_from_what_it_saw_and_nothing_is_listed_again():
    async def test(watch, server, told):
        assert [params.get("resourceVersion") for params in server.asked] == [None, "4", "9", "12", "12"]
        assert server.lists == watch.lists == 1
        assert told[-1] == (Change.ADDED, "b", "12")
        assert server.asked[1]["allowWatchBookmarks"] == "true"

    bookmark = {"metadata": {"resourceVersion": "9"}}
    script = [
        listing(4, pod("a", 1)),
        [line("BOOKMARK", bookmark)],
        [line("ADDED", pod("b", 12)), b'{"type": "MODIFIED", "obj'],  # cut in the middle of a line
        [httpx2.ReadError("connection reset")],
        [None],
    ]
    run(script, test)


@pytest.mark.parametrize("how", ["in the stream", "as the answer"])
def test_410_lists_again_and_tells_what_vanished_meanwhile(how):
    async def test(watch, server, told):
        assert watch.objects == {Key("shop", "a"): "8", Key("shop", "d"): "7"}
        assert told[2:] == [(Change.DELETED, "b", "2"), (Change.MODIFIED, "a", "8"), (Change.ADDED, "d", "7")]
        assert server.lists == 2
        assert server.asked[-1]["resourceVersion"] == "9"
        assert watch.problem == ""

    script = [
        listing(4, pod("a", 1), pod("b", 2)),
        [line("ERROR", gone())] if how == "in the stream" else (410, gone()),
        listing(9, pod("a", 8), pod("d", 7)),
        [None],
    ]
    run(script, test)


def test_a_page_that_expired_begins_the_list_anew():
    async def test(watch, server, told):
        assert set(watch.objects) == {Key("shop", "a"), Key("shop", "b")}
        assert [params.get("continue") for params in server.asked[:3]] == [None, "old", None]

    run([listing(4, pod("a", 1), more="old"), (410, gone()), listing(6, pod("a", 1), pod("b", 5)), [None]], test)


def test_a_server_that_is_away_leaves_what_was_seen(caplog):
    async def test(watch, server, told):
        assert watch.objects == {Key("shop", "a"): "1"}
        assert watch.problem == "the API server does not answer: no route"
        assert server.lists == 1, "the version holds: the watch is asked for, not the list"

    down = httpx2.ConnectError("no route")
    with caplog.at_level(logging.WARNING):
        run([listing(4, pod("a", 1)), down, down, down, down], test)
    assert caplog.text.count("no route") == 1, "said once"


def test_a_server_that_stands_still_is_given_up_where_it_owes_a_word(caplog):
    """It closes no connection and its kernel answers every probe: stopped, or gone behind something that lives."""

    async def test(watch, server, told):
        assert watch.objects == {Key("shop", "a"): "1"}
        assert [params.get("resourceVersion") for params in server.asked] == [None, "4", "9", "9"]
        assert watch.problem == ""
        assert server.lists == 1

    bookmark = {"metadata": {"resourceVersion": "9"}}
    still = replace(FAST, head_s=0.02, bookmark_s=0.02)
    with caplog.at_level(logging.INFO):
        run([listing(4, pod("a", 1)), [line("BOOKMARK", bookmark), None], None, [None]], test, settings=still)
    assert "no bookmark for 0.02 s" in caplog.text
    assert "the API server does not answer: /api/v1/pods for 0.02 s" in caplog.text


def test_a_server_that_sends_no_bookmarks_owes_none():
    """Core events, of which it keeps no cache: silence is how they sound."""

    async def test(watch, server, told):
        await asyncio.sleep(0.1)  # five times what a server that sends them has
        assert len(server.asked) == 2
        assert watch.objects == {Key("shop", "a"): "1", Key("shop", "b"): "5"}

    script = [listing(4, pod("a", 1)), [line("ADDED", pod("b", 5)), None]]
    run(script, test, settings=replace(FAST, head_s=0.02, bookmark_s=0.02))


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [(403, "Forbidden", "grant list and watch"), (404, "NotFound", "custom resource definitions"), (500, "", "can't")],
)
def test_what_can_not_be_watched_is_a_problem_in_words_and_tried_again(code, reason, said):
    async def test(watch, server, told):
        assert watch.problem == ""
        assert watch.synced.is_set()

    async def before(watch, server, told):
        assert said in watch.problem
        assert not watch.synced.is_set()

    refusal = (code, {"kind": "Status", "code": code, "reason": reason, "message": "no"})
    run([refusal, refusal, listing(4), [None]], test)
    run([refusal], before) if code != 500 else None


def test_what_keep_leaves_out_is_not_there():
    async def test(watch, server, told):
        assert watch.objects == {}
        assert told == [(Change.ADDED, "a", "x"), (Change.DELETED, "a", "x")]

    keep = {"1": "x", "5": None}
    script = [listing(4, pod("a", 1)), [line("MODIFIED", pod("a", 5)), None]]
    run(script, test, keep=lambda obj: keep[obj["metadata"]["resourceVersion"]])


def test_a_callback_that_raises_ends_nothing(caplog):
    async def test(watch, server, told):
        assert set(watch.objects) == {Key("shop", "a"), Key("shop", "b")}

    script = [listing(4, pod("a", 1)), [line("ADDED", pod("b", 5)), None]]
    run(script, test, on_change=lambda *told: 1 / 0)
    assert caplog.text.count("could not be taken") == 2


def test_ten_thousand_events_take_little_time():
    """Not a threshold on the clock, but a figure to look at: what one event costs."""

    async def test(watch, server, told):
        assert len(watch.objects) == 1000

    lines = b"".join(line("MODIFIED", pod(f"p{n % 1000}", n + 1)) for n in range(10_000))
    began = time.process_time()
    run([listing(0), [lines, None]], test)
    print(f"{(time.process_time() - began) / 10_000 * 1e6:.0f} us an event")
