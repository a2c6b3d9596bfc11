"""What makes two requests the same: 20 bytes over everything that an answer may depend on.

The scope (service, revision, epoch, tenant, path and query, content type) is hashed once and remembered; the body, or
what `cache.inputs` chooses of it, is hashed with the scope as BLAKE2b's key (RFC 7693). Whoever may read the store can
not turn a key back into a body, nor find another body for it.

Credentials: a cached answer is given to whoever asks the same, so it must not depend on who asked first. Where the
gateway found the tenant, it knows whom the credentials stand for, and the key or the service's `scope` says what they
share. Where it did not, an `authorization` header means something only to the model's server: such requests are neither
answered from the cache nor kept in it (as RFC 9111 section 3.5 has it).
"""

from hashlib import blake2b

from msgspec import Struct

from plimsoll.core.snapshot import CacheView
from plimsoll.gateway.cache.parts import Protocol, chosen_parts, chosen_tensors, protocol_of
from plimsoll.wire.http1 import Exchange

# A megabyte takes 1.2 ms of the loop to hash; what it would save is a model's call, but for one client, not for all.
LARGEST_BODY = 2**20
LARGEST_CHOSEN = 128 * 2**10  # of a body that has to be read as JSON first: 0.3 ms

_DIRECTIVES = frozenset({b"cache-control", b"pragma"})
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
# A body that is not what it looks like has no key; the type is read once, so two of them have none either.
_READ = _DIRECTIVES | _CREDENTIALS | {b"content-type", b"content-encoding", b"inference-header-content-length"}
_REMEMBERED = 1024  # scopes; full, the memory starts anew, so that no client can fill it
_REMEMBERED_BYTES = 256


class CacheKey(Struct, frozen=True, gc=False):
    """`may_read`: False where the client asked for a new answer (`no-cache`); it is kept all the same.

    `id`: where the key leaves out the id that an answer repeats: the JSON to put there, empty for none. None: answers
    are passed on as they are.
    """

    key: bytes
    revision: str
    may_read: bool = True
    id: bytes | None = None


class Keyer:
    """One service's, for one CacheView."""

    __slots__ = ("_inputs", "_per_tenant", "_scopes", "_start")

    def __init__(self, service: str, view: CacheView) -> None:
        self._inputs = view.inputs
        self._per_tenant = view.per_tenant
        self._start = (service, str(view.epoch), *view.inputs)
        self._scopes: dict[tuple[str, str, str, str, bytes], tuple[bytes, Protocol | None]] = {}

    def key(self, exchange: Exchange, tenant: str, revision: str) -> CacheKey | None:
        """None: not cached at all. `tenant`: "" where the gateway knows none. 1.6 us for 300 bytes and six headers."""
        body = exchange.body
        if exchange.method != "POST" or len(body) > LARGEST_BODY:
            return None
        content_type, may_read = b"", True
        for name, value in exchange.headers:
            if name not in _READ:
                continue
            if name == b"content-type" and not content_type:
                content_type = value
            elif name in _DIRECTIVES:
                wish = _may_read(value)
                if wish is None:
                    return None
                may_read = may_read and wish
            elif not tenant or name not in _CREDENTIALS:
                return None  # whose answer it is, or what the body is, nobody knows here
        if not self._per_tenant:
            tenant = ""
        found = self._scopes.get((revision, tenant, exchange.path, exchange.query, content_type))
        scope, protocol = found or self._scope(revision, tenant, exchange.path, exchange.query, content_type)
        if protocol is None:
            return None
        if not self._inputs:
            return CacheKey(blake2b(body, digest_size=20, key=scope).digest(), revision, may_read)
        return self._of_inputs(protocol, scope, body, revision, may_read)

    def _of_inputs(
        self, protocol: Protocol, scope: bytes, body: bytes, revision: str, may_read: bool
    ) -> CacheKey | None:
        if len(body) > LARGEST_CHOSEN:
            return None
        answer_id = None
        if protocol is Protocol.OIP:
            tensors = chosen_tensors(body, self._inputs)
            if tensors is None:
                return None
            parts, answer_id = tensors
        else:
            values = chosen_parts(body, self._inputs, protocol)
            if values is None:
                return None
            parts = values
        digest = blake2b(_framed(parts), digest_size=20, key=scope).digest()
        return CacheKey(digest, revision, may_read, answer_id)

    def _scope(
        self, revision: str, tenant: str, path: str, query: str, content_type: bytes
    ) -> tuple[bytes, Protocol | None]:
        whose = f"tenant {tenant}" if self._per_tenant else "service"
        essence = content_type.partition(b";")[0].strip().lower().decode("latin-1")
        texts = (*self._start, revision, whose, path, query, essence)
        scope = blake2b(_framed([text.encode() for text in texts]), digest_size=32).digest(), protocol_of(path)
        if len(path) + len(query) + len(content_type) <= _REMEMBERED_BYTES:
            if len(self._scopes) >= _REMEMBERED:
                self._scopes.clear()
            self._scopes[revision, tenant, path, query, content_type] = scope
        return scope


def _framed(parts: list[bytes]) -> bytes:
    """So that no two lists give the same bytes."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _may_read(directives: bytes) -> bool | None:
    """Whether a kept answer will do; None: nothing of this may be kept. RFC 9111 sections 5.2.1 and 5.4."""
    wanted = [part.strip() for part in directives.lower().split(b",")]
    if b"no-store" in wanted:
        return None
    return b"no-cache" not in wanted and b"max-age=0" not in wanted
