"""An issuer's signing keys (RFC 7517): fetched, kept, fetched again each ten minutes or when a token names a new one.

While the issuer is away the last good keys stay in use, and `problem` says so. Nothing here is on a request's way but
`find`, a dictionary's look-up.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from plimsoll.gateway.tenants.fetch import FetchFailed

LOG = logging.getLogger(__name__)

REFRESH_S = 600.0
RETRY_S = 10.0  # after a failure, and at most so often for unknown key ids
_WAITERS = 256  # requests that may wait for one fetch: who makes up key ids must not fill the gateway
_KEYS = 64  # of one issuer
_RSA_BITS = 2048  # RFC 7518 section 3.3

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ALGORITHMS = _RSA | {"ES256", "ES384", "ES512", "EdDSA"}  # asymmetric alone: no HS*, and never `none`

Fetch = Callable[[str], Awaitable[bytes]]


class KeysPending(Exception):  # a signal, not an error of the caller's
    """The token names a key that is being fetched. Ask again when `future` is done, 5 s from now at most;
    others wait for it, too: never cancel it."""

    def __init__(self, future: "asyncio.Future[None]") -> None:
        super().__init__("the token's key is being fetched")
        self.future = future


@dataclass(frozen=True, slots=True)
class SigningKey:
    public: Any  # a public key of the `cryptography` package
    algorithms: frozenset[str]  # that it may be used with


class KeySet:
    """One issuer's keys. `start` within a running loop; `close` ends it. `generation` counts changes of the keys."""

    def __init__(self, uri: str, fetch: Fetch, now: Callable[[], float]) -> None:
        self.uri = uri
        self.label = re.sub(r"//[^/?#]*@|[?#].*", lambda part: part[0][:2] if part[0][0] == "/" else "", uri)
        self.keys: dict[str, SigningKey] = {}
        self.generation = 0
        self.problem: str | None = None
        self._fetch = fetch
        self._now = now
        self._wanted = asyncio.Event()
        self._pending: asyncio.Future[None] | None = None
        self._waiters = 0
        self._tried_at: float | None = None
        self._good_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._pending = asyncio.get_running_loop().create_future()
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._settle()

    def find(self, kid: str | None) -> SigningKey | None:
        """None: not known. Without an id: the only key, where there is but one."""
        if kid is not None:
            return self.keys.get(kid)
        return next(iter(self.keys.values())) if len(self.keys) == 1 else None

    def pending(self) -> "asyncio.Future[None] | None":
        """Done when the fetch that is under way, or begins now, has ended; None where it is too soon for another, or
        too many wait (`crowded`)."""
        if self._pending is None:
            if self._task is None or (self._tried_at is not None and self._now() - self._tried_at < RETRY_S):
                return None
            self._pending, self._waiters = asyncio.get_running_loop().create_future(), 0
            self._wanted.set()
        self._waiters += 1
        return self._pending if self._waiters <= _WAITERS else None

    @property
    def crowded(self) -> bool:
        """A fetch is under way that no more may wait for."""
        return self._pending is not None and self._waiters > _WAITERS

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                self._take(await self._fetch(self.uri))
            except (FetchFailed, ValueError) as error:
                self._failed(str(error))
            except Exception as error:  # a bug of ours must not end the fetching
                LOG.exception("fetching signing keys failed", extra={"uri": self.label})
                self._failed(type(error).__name__)
            self._tried_at = self._now()
            self._settle()
            try:
                async with asyncio.timeout(RETRY_S if self.problem else REFRESH_S):
                    await self._wanted.wait()
            except TimeoutError:
                if self._pending is None:
                    self._pending, self._waiters = asyncio.get_running_loop().create_future(), 0

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_result(None)

    def _take(self, text: bytes) -> None:
        keys = parse_keys(text)
        if not keys:  # more likely an accident than the wish to lock everybody out
            raise ValueError("it holds no key that tokens could be signed with")
        if _identity(keys) != _identity(self.keys):
            self.keys = keys
            self.generation += 1
            LOG.info("signing keys changed", extra={"uri": self.label, "keys": len(keys)})
        if self.problem is not None:
            LOG.info("signing keys can be fetched again", extra={"uri": self.label})
        self.problem, self._good_at = None, self._now()

    def _failed(self, why: str) -> None:
        first = self.problem is None
        if self._good_at is None:
            self.problem = f"signing keys of {self.label} can't be fetched ({why}): no token of this issuer is accepted"
        else:
            age_s = self._now() - self._good_at
            self.problem = (
                f"signing keys of {self.label} can't be fetched ({why}): those of {age_s:.0f} s ago stay in use"
            )
        if first:
            LOG.warning("%s", self.problem)


def parse_keys(text: bytes) -> dict[str, SigningKey]:
    """By key id ("" where it has none). Keys that are no good for signatures, or for ours, are left out.
    Raises ValueError where it is no key set."""
    try:
        found = msgspec.json.decode(text, type=_Jwks).keys
    except msgspec.MsgspecError as error:
        raise ValueError(f"no JSON Web Key Set: {error}") from None
    keys: dict[str, SigningKey] = {}
    for jwk in found[:_KEYS]:
        key = _signing_key(jwk)
        kid = jwk.get("kid", "")
        if key is not None and isinstance(kid, str):
            keys.setdefault(kid, key)
    return keys


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


def _signing_key(jwk: dict[str, Any]) -> SigningKey | None:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    if jwk.get("use", "sig") != "sig" or "verify" not in (jwk.get("key_ops") or ["verify"]):
        return None
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            algorithms = _RSA
        case "EC", str() as curve if curve in _CURVES:
            algorithms = frozenset({_CURVES[curve]})
        case "OKP", "Ed25519" | "Ed448":
            algorithms = frozenset({"EdDSA"})
        case _:
            return None
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else frozenset()
    if not algorithms:
        return None
    public_part = {name: value for name, value in jwk.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        public = PyJWK(public_part, algorithm=next(iter(algorithms))).key
    except (PyJWTError, ValueError, TypeError):
        return None
    if algorithms <= _RSA and public.key_size < _RSA_BITS:
        return None
    return SigningKey(public, algorithms)


def _identity(keys: dict[str, SigningKey]) -> dict[str, tuple[bytes, frozenset[str]]]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return {
        kid: (key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), key.algorithms)
        for kid, key in keys.items()
    }
