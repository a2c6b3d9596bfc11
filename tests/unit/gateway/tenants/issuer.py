"""An issuer of tokens for tests: real keys, and a real HTTP server that publishes them."""

import base64
import http.server
import json
import threading
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000.0  # the wall clock of these tests
_ALGORITHMS = jwt.algorithms.get_default_algorithms()


def rsa_key(bits: int = 2048) -> Any:
    return rsa.generate_private_key(65537, bits)


def ec_key(curve: Any = None) -> Any:
    return ec.generate_private_key(curve or ec.SECP256R1())


def ed_key() -> Any:
    return ed25519.Ed25519PrivateKey.generate()


def jwk(private: Any, kid: str | None = "k1", **more: Any) -> dict[str, Any]:
    name = {"RSA": "RS256", "Ell": "ES256", "ECP": "ES256"}.get(type(private).__name__[:3], "EdDSA")
    made = json.loads(_ALGORITHMS[name].to_jwk(private.public_key()))
    made.pop("key_ops", None)
    return made | ({} if kid is None else {"kid": kid}) | more


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def token(private: Any, algorithm: str = "RS256", kid: str | None = "k1", headers: Any = None, **claims: Any) -> bytes:
    said = {"iss": "https://id.example.com", "aud": "plimsoll", "exp": NOW + 300, "team": "checkout"} | claims
    said = {name: value for name, value in said.items() if value is not None}
    head = ({} if kid is None else {"kid": kid}) | (headers or {})
    return jwt.encode(said, private, algorithm=algorithm, headers=head).encode()


def handmade(header: dict[str, Any], claims: Any, signature: bytes = b"") -> bytes:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


class KeyServer:
    """`answer`: (status, headers, body). `asked`: paths, in order."""

    def __init__(self, port: int = 0) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, jwks())
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                status, headers, body = server.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.uri = f"http://127.0.0.1:{self.port}/keys"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, *keys: dict[str, Any]) -> None:
        self.answer = (200, {}, jwks(*keys))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
