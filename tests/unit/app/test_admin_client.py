"""The admin client against a server of canned answers on a Unix socket."""

import http.server
import json
import os
import shutil
import socketserver
import tempfile
import threading

import pytest

from plimsoll.app.client import AdminClient, Rejected
from plimsoll.core.errors import HostError, UserError


class Canned(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def admin():
    folder = tempfile.mkdtemp(dir="/tmp")
    path = os.path.join(folder, "a.sock")
    seen, answers = [], {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append((self.command, self.path, json.loads(body) if body else None))
            status, answer = answers.get((self.command, self.path), (404, {"error": "no such thing"}))
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    server = Canned(path, Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield AdminClient(path), answers, seen
    server.shutdown()
    server.server_close()
    thread.join(5)
    shutil.rmtree(folder)


def test_calls_reach_their_paths(admin):
    client, answers, seen = admin
    answers["POST", "/v1/services"] = 200, {"applied": [{"name": "mood"}]}
    answers["POST", "/v1/services/mood/scale"] = 200, {}
    answers["GET", "/v1/events?since=3"] = 200, b'{"seq": 4}\n{"seq": 5}\n'
    answers["GET", "/v1/services/mood/logs?lines=2&replica=mood-1-0"] = 200, "é\nb\n".encode()
    assert client.apply([{"text": "t", "file": "/f"}]) == [{"name": "mood"}]
    client.scale("mood", None)
    assert [event["seq"] for event in client.events(since=3)] == [4, 5]
    assert list(client.logs("mood", lines=2, replica="mood-1-0")) == ["é", "b"]
    assert seen[:2] == [
        ("POST", "/v1/services", {"documents": [{"text": "t", "file": "/f"}]}),
        ("POST", "/v1/services/mood/scale", {"replicas": None}),
    ]


def test_every_error_of_a_refusal_is_kept(admin):
    client, answers, _ = admin
    answers["POST", "/v1/services"] = 422, {"error": "one", "errors": ["one", "two"]}
    with pytest.raises(Rejected) as caught:
        client.apply([])
    assert caught.value.lines == ["one", "two"]
    assert str(caught.value) == "one\ntwo"


def test_an_unknown_service_gets_the_nearest_name(admin):
    client, answers, _ = admin
    answers["GET", "/v1/services"] = 200, {"services": [{"name": "sentiment"}, {"name": "fraud"}]}
    with pytest.raises(UserError, match=r"^no service 'sentimnt'; did you mean sentiment\?$"):
        client.service("sentimnt")
    with pytest.raises(UserError, match="no service 'zzz'; running: sentiment, fraud"):
        list(client.logs("zzz", lines=1))


def test_names_cannot_leave_their_place_in_the_path(admin):
    client, answers, seen = admin
    answers["GET", "/v1/services"] = 200, {"services": []}
    with pytest.raises(UserError):
        client.service("../info")
    assert seen[0][1] == "/v1/services/..%2Finfo"


def test_an_answer_that_is_no_json_is_told(admin):
    client, answers, _ = admin
    answers["GET", "/v1/info"] = 500, b"oops"
    with pytest.raises(Rejected, match="answered 500: oops"):
        client.info()


def test_nobody_there_is_a_host_error():
    with pytest.raises(HostError, match=r"does not answer on /nowhere/a\.sock"):
        AdminClient("/nowhere/a.sock").info()
