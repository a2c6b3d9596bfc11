"""JSON Web Tokens (RFC 7519) to tenants, checked with PyJWT against their issuers' published keys.

What is cheap is checked before the signature (50 to 150 us): form, algorithm, issuer, audience, times, claims. A token
that was found good is known by its digest until it expires or its issuer's keys change, at most 4096 of them, so a
client that sends the same token a thousand times has it verified once.

Times are the wall clock's, as the issuer's are, and looked at each time: a clock that jumps makes a token early or late
at once, and good again when it jumps back.
"""

import math
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from plimsoll.core.errors import Throttled, Unauthorized
from plimsoll.core.snapshot import JwtView, TenantView
from plimsoll.gateway.tenants.jwks import ALGORITHMS, KeySet, KeysPending, SigningKey

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

LEEWAY_S = 60.0  # clocks of issuers and gateways differ; RFC 7519 section 4.1.4 allows a few minutes at most
_CACHED = 4096
_LONGEST = 8 * 1024  # bytes of a token
_decode = msgspec.json.Decoder(dict[str, Any]).decode

_Candidate = tuple[JwtView, str]
_Good = tuple[float, float, str, KeySet, int]  # from, until, the tenant's name, its keys, their generation


class Tokens:
    """`key_set` gives the keys at a URI. Snapshots make a new one where the tenants' `jwt` parts changed."""

    def __init__(self, tenants: Iterable[TenantView], key_set: Callable[[str], KeySet]) -> None:
        self._by_issuer: dict[str, list[_Candidate]] = {}
        self._key_sets: dict[str, KeySet] = {}
        self._good: dict[bytes, _Good] = {}
        self._jws: PyJWS | None = None
        for view in tenants:
            if view.jwt is not None:
                self._by_issuer.setdefault(view.jwt.issuer, []).append((view.jwt, view.name))
                self._key_sets[view.jwt.jwks_uri] = key_set(view.jwt.jwks_uri)
        for candidates in self._by_issuer.values():  # of two that a token fits, the one that asks for more
            candidates.sort(key=lambda candidate: -len(candidate[0].claims))

    def find(self, token: bytes, now_wall: float) -> str:
        """The tenant's name. Raises Unauthorized or Throttled, never naming the token, or KeysPending."""
        digest = sha256(token).digest()
        good = self._good.get(digest)
        if good is not None:
            since, until, name, keys, generation = good
            if since <= now_wall < until and generation == keys.generation:
                return name
            del self._good[digest]
        good = self._check(token, now_wall)
        if len(self._good) >= _CACHED:
            del self._good[next(iter(self._good))]
        self._good[digest] = good
        return good[2]

    def _check(self, token: bytes, now_wall: float) -> _Good:
        if len(token) > _LONGEST:
            raise Unauthorized(f"the token is longer than {_LONGEST} bytes")
        header, claims = self._read(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise Unauthorized("the token's algorithm is not accepted; expected RS*, PS*, ES* or EdDSA")
        if "crit" in header:  # RFC 7515 section 4.1.11: we understand no extension
            raise Unauthorized("the token has critical headers that are not understood")
        view, name = self._candidate(claims)
        since, until = _times(claims, now_wall)
        keys = self._key_sets[view.jwks_uri]
        self._verify(token, algorithm, self._key(keys, header.get("kid")))  # PyJWT has seen that it is text
        return since, until, name, keys, keys.generation

    def _read(self, token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        from jwt.api_jws import PyJWS
        from jwt.exceptions import PyJWTError

        if self._jws is None:
            self._jws = PyJWS(algorithms=sorted(ALGORITHMS))
        try:
            parts = self._jws.decode_complete(token, options={"verify_signature": False})
            return parts["header"], _decode(parts["payload"])
        except (PyJWTError, ValueError, RecursionError):
            raise Unauthorized("the token is malformed") from None

    def _candidate(self, claims: dict[str, Any]) -> _Candidate:
        issuer, audience = claims.get("iss"), claims.get("aud")
        candidates = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if not candidates:
            raise Unauthorized("the token's issuer is not known")
        heard = [candidate for candidate in candidates if _holds(audience, candidate[0].audience)]
        if not heard:
            raise Unauthorized("the token is for another audience")
        for candidate in heard:
            if all(_holds(claims.get(claim), wanted) for claim, wanted in candidate[0].claims.items()):
                return candidate
        raise Unauthorized("the token lacks the claims of any tenant")

    def _key(self, keys: KeySet, kid: str | None) -> SigningKey:
        key = keys.find(kid)
        if key is not None:
            return key
        if kid is None and keys.keys:
            raise Unauthorized("the token does not say which key signed it (kid)")
        pending = keys.pending()
        if pending is not None:
            raise KeysPending(pending)
        if keys.crowded:
            raise Throttled("too many requests wait for the keys of the token's issuer", retry_after_s=1)
        if keys.keys:
            raise Unauthorized("the token is signed with a key that its issuer does not publish")
        raise Unauthorized("the token can't be verified: its issuer's keys could not be fetched")

    def _verify(self, token: bytes, algorithm: str, key: SigningKey) -> None:
        from jwt.exceptions import PyJWTError

        if algorithm not in key.algorithms:
            raise Unauthorized("the token's algorithm is not its key's")
        assert self._jws is not None  # _read was here
        try:
            self._jws.decode_complete(token, key.public, [algorithm])
        except (PyJWTError, ValueError, TypeError):
            raise Unauthorized("the token's signature is wrong") from None


def _holds(claim: object, wanted: str) -> bool:
    """The claim is that text, or a list that has it (as `aud` and groups are)."""
    return claim == wanted or (isinstance(claim, list) and wanted in claim)


def _times(claims: dict[str, Any], now_wall: float) -> tuple[float, float]:
    """(from, until) with the leeway on both sides. A token without an end is refused: nobody could take it back."""
    until = _seconds(claims, "exp")
    since = _seconds(claims, "nbf")
    if until is None:
        raise Unauthorized("the token never expires; expected the claim exp")
    until += LEEWAY_S
    since = -math.inf if since is None else since - LEEWAY_S
    if now_wall >= until:
        raise Unauthorized("the token has expired")
    if now_wall < since:
        raise Unauthorized("the token is not valid yet")
    return since, until


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unauthorized(f"the token's {name} is no time")
    return float(value)
