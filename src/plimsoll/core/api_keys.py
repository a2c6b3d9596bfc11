"""API keys: 256 random bits, shown once to their owner; Plimsoll keeps SHA-256 digests alone.

A plain hash is enough for such keys: nobody guesses 256 bits, so there is nothing for a slow hash to slow down.
"""

import base64
import hashlib
import re

PREFIX = "plm_"  # so that a scanner for leaked secrets can know one
KEY_BYTES = 32
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z", re.ASCII | re.IGNORECASE)


def new_key(random_bytes: bytes) -> tuple[str, str]:
    """(the key's text, `sha256:HEX`) of 32 bytes from a generator that is fit for secrets."""
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} random bytes, not {len(random_bytes)}")
    key = PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def digests_in(text: str) -> list[str]:
    """The hex digests in a file of `sha256:HEX` lines; blank lines and `#` comments are left out.

    Raises ValueError naming the line's number, never its text: who mistakes the file may have put a key into it.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        match = _DIGEST.match(word)
        if match is None:
            raise ValueError(f"line {number} is no digest; expected sha256: and 64 hexadecimal digits")
        found.append(match[1].lower())
    return found
