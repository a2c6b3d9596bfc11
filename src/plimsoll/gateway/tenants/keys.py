"""API keys to tenants. Only SHA-256 digests are here; a key itself is never kept, logged or told."""

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest

from plimsoll.core.snapshot import TenantView

_PREFIX = 8  # bytes of the digest that find the entry; what they tell by timing is of a hash, not of a key
_NOBODY = (bytes(32), "")  # so that an unknown key is compared as well


class ApiKeys:
    """`problems`: digests that two tenants claim (the first has it) or that are none."""

    def __init__(self, tenants: Iterable[TenantView]) -> None:
        self._entries: dict[bytes, tuple[bytes, str]] = {}
        self.problems: list[str] = []
        for view in tenants:
            for key_name, text in view.key_digests.items():
                for word in text.split():
                    self._add(view.name, key_name, word)

    def _add(self, tenant: str, key_name: str, word: str) -> None:
        try:
            digest = bytes.fromhex(word.removeprefix("sha256:"))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            self.problems.append(f"tenant {tenant}, API key {key_name}: no SHA-256 digest; nobody can use it")
            return
        known = self._entries.setdefault(digest[:_PREFIX], (digest, tenant))
        if known[1] != tenant:
            self.problems.append(f"tenant {tenant}, API key {key_name}: the same key is {known[1]}'s, who has it")

    def find(self, key: bytes) -> str | None:
        """The tenant's name. The same work for a key that is known and one that isn't (1 us)."""
        digest = sha256(key).digest()
        known, tenant = self._entries.get(digest[:_PREFIX], _NOBODY)
        return tenant if compare_digest(digest, known) else None
