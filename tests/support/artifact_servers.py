"""Where models are fetched from, each a real server on a free loopback port: an OCI registry, a web server that breaks
off and falls silent on request, a model hub, a bucket's JSON API.

with OciRegistry() as registry:
    registry.host
with WebFiles({"/m.onnx": data}) as web:
    web.url("/m.onnx"); web.faults.append(Fault(after=1000)); web.asked
"""

import base64
import contextlib
import hashlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.support.cache_servers import free_port

# bcrypt, the only form that the registry takes: of "s3cret"
_HTPASSWD = "team:$2b$05$GLT7vzqA7duH1DblbulJFehRAAH5yiGeuyjxP1za6xk.RIac3J9RW\n"


class OciRegistry:
    """Debian's docker-registry. `auth`: None, "basic" (team:s3cret) or "token" (a token server beside it, for the same
    login; anonymous pulls are refused)."""

    def __init__(self, auth=None):
        if shutil.which("docker-registry") is None:
            pytest.skip("no docker-registry here: scripts/install-servers.sh installs it")
        self.auth = auth
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp())
        self.process = self.tokens = None

    def __enter__(self):
        if self.auth == "token":
            self.tokens = TokenServer(self.folder, self.host)
            self.tokens.__enter__()
        config = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "uploads go on after a restart"},
            "auth": self._auth(),
        }
        file = self.folder / "config.yml"
        file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        self.file = file
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(self.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, "docker-registry ended at once"
            assert time.monotonic() < give_up, "docker-registry takes no connections"
            time.sleep(0.005)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_):
        self.kill()
        if self.tokens is not None:
            self.tokens.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _auth(self):
        if self.auth == "basic":
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            return {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        if self.auth == "token":
            return {
                "token": {
                    "realm": self.tokens.url("/token"),
                    "service": "tests",
                    "issuer": "tests",
                    "rootcertbundle": str(self.folder / "token.crt"),
                }
            }
        return None


@dataclass
class Fault:
    """Of one answer: after so many bytes of the body the connection is cut, or `silent`: nothing comes any more.
    `status`: this answer instead of the file."""

    after: int = 0
    silent: bool = False
    status: int = 0
    headers: dict = field(default_factory=dict)


class WebFiles:
    """Files with ETag and Range. `faults` are used up one an answer that would succeed; `asked`: (method, path,
    headers)."""

    def __init__(self, files=None, *, ranges=True, lengths=True, token=""):
        self.files = dict(files or {})
        self.redirects = {}
        self.faults = deque()
        self.asked = []
        self.ranges, self.lengths, self.token = ranges, lengths, token
        self.silence = threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.asked.append((self.command, self.path, dict(self.headers)))
                with contextlib.suppress(ConnectionError):
                    outer.answer(self)

            do_HEAD = do_POST = do_GET  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that are killed are what tests are about
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.silence.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, handler):
        path = urlsplit(handler.path).path
        if self.token and handler.headers.get("Authorization") != self.token:
            return self.plain(handler, 401, b"who are you?")
        if path in self.redirects:
            return self.plain(handler, 302, b"", {"Location": self.redirects[path]})
        if path not in self.files:
            return self.plain(handler, 404, b"no such thing")
        return self.send_file(handler, self.files[path])

    def plain(self, handler, status, body, headers=None):
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def send_file(self, handler, data, headers=None):
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.status:
            return self.plain(handler, fault.status, b"later", fault.headers)
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start, status = 0, 200
        wanted = re.match(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if wanted and self.ranges and handler.headers.get("If-Range", etag) == etag:
            start, status = int(wanted[1]), 206
            if start >= len(data):
                return self.plain(handler, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
        end = min(int(wanted[2]) + 1, len(data)) if status == 206 and wanted[2] else len(data)
        body = data[start:end]
        handler.send_response(status)
        handler.send_header("ETag", etag)
        if self.lengths:
            handler.send_header("Content-Length", str(len(body)))
        else:
            handler.send_header("Connection", "close")
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return None
        if fault is None:
            handler.wfile.write(body)
            handler.close_connection = not self.lengths
            return None
        handler.wfile.write(body[: fault.after])
        handler.wfile.flush()
        if fault.silent:
            self.silence.wait(60)  # the connection stands, and nothing comes
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)
        return None


class ModelHub(WebFiles):
    """What huggingface_hub and a resumed download ask of a hub: the repository's files with their sizes and LFS
    digests, and `resolve`, which sends large files on to another host with a signed URL. `large`: from how many bytes
    on."""

    def __init__(self, files, *, storage=None, token="", large=1000, commit="a" * 40):
        super().__init__()
        self.repo_files, self.storage, self.token_wanted, self.large = files, storage, token, large
        self.commit = commit

    def answer(self, handler):
        path = urlsplit(handler.path).path
        if self.token_wanted and handler.headers.get("Authorization") != f"Bearer {self.token_wanted}":
            return self.plain(handler, 401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        info = re.fullmatch(r"/api/models/team/mood(/revision/[^/]+)?", path)
        if info:
            return self.plain(handler, 200, json.dumps(self.info()).encode(), {"Content-Type": "application/json"})
        found = re.fullmatch(rf"/team/mood/resolve/{self.commit}/(.+)", path)
        name = unquote(found[1]) if found else ""
        if name not in self.repo_files:
            return self.plain(handler, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        data = self.repo_files[name]
        if self.storage is not None and len(data) >= self.large:
            self.storage.files[f"/lfs/{name}"] = data
            place = self.storage.url(f"/lfs/{name}") + "?X-Signature=secret"
            return self.plain(handler, 302, b"", {"Location": place, "X-Linked-Size": str(len(data))})
        return self.send_file(handler, data, {"X-Repo-Commit": self.commit})

    def info(self):
        return {
            "_id": "1",
            "id": "team/mood",
            "modelId": "team/mood",
            "sha": self.commit,
            "private": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [self.sibling(name, data) for name, data in self.repo_files.items()],
        }

    def sibling(self, name, data):
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        found = {"rfilename": name, "size": len(data), "blobId": blob}
        if len(data) >= self.large:
            found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return found


class BucketApi(WebFiles):
    """The part of Google Cloud Storage's JSON API that reading needs, with its words: list, one object's metadata, its
    content with ranges."""

    def __init__(self, objects, bucket="models"):
        super().__init__()
        self.objects, self.bucket = objects, bucket

    def answer(self, handler):
        asked = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(asked.query).items()}
        base = f"/storage/v1/b/{self.bucket}/o"
        path = asked.path.replace("/download/storage", "/storage")
        if path == base:
            return self.listing(handler, query)
        name = unquote(path.removeprefix(f"{base}/"))
        if not path.startswith(f"{base}/") or name not in self.objects:
            return self.plain(handler, 404, b'{"error": {"code": 404, "message": "No such object"}}')
        if query.get("alt") == "media" or "/download/" in asked.path:
            return self.send_file(handler, self.objects[name])
        return self.json(handler, self.described(name))

    def listing(self, handler, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names = [name for name in sorted(self.objects) if name.startswith(prefix)]
        items, prefixes = [], set()
        for name in names:
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.described(name))
        return self.json(handler, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def described(self, name):
        data = self.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": self.bucket,
            "size": str(len(data)),
            "generation": "1",
            "etag": hashlib.md5(data).hexdigest(),
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "contentType": "application/octet-stream",
            "mediaLink": self.url(f"/download/storage/v1/b/{self.bucket}/o/{name}?generation=1&alt=media"),
        }

    def json(self, handler, body):
        return self.plain(handler, 200, json.dumps(body).encode(), {"Content-Type": "application/json"})


class TokenServer(WebFiles):
    """Gives signed tokens for what was asked, to team:s3cret alone."""

    def __init__(self, folder, host):
        super().__init__()
        self.folder, self.audience = folder, "tests"
        jwt = pytest.importorskip("jwt", reason="needs pyjwt: pip install 'plimsoll-serve[jwt]'")
        self.jwt = jwt
        self.key, self.certificate = _key_and_certificate()
        (folder / "token.crt").write_bytes(self.certificate)

    def answer(self, handler):
        wanted = "Basic " + base64.b64encode(b"team:s3cret").decode()
        if handler.headers.get("Authorization") != wanted:
            return self.plain(handler, 401, b'{"details": "wrong login"}')
        query = parse_qs(urlsplit(handler.path).query)
        kind, name, actions = query["scope"][0].split(":")
        now = int(time.time())
        claims = {
            "iss": "tests",
            "sub": "team",
            "aud": query["service"][0],
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(now),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        der = base64.b64encode(_der(self.certificate)).decode()
        token = self.jwt.encode(claims, self.key, algorithm="RS256", headers={"x5c": [der]})
        return self.plain(handler, 200, json.dumps({"token": token}).encode())


def _key_and_certificate():
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)


def _der(pem):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
