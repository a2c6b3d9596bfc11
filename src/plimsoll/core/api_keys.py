"""API keys: 256 random bits, shown once to their owner; Plimsoll keeps SHA-256 digests alone.

A plain hash is enough for such keys: nobody guesses 256 bits, so there is nothing for a slow hash to slow down.
"""

import base64
import hashlib

PREFIX = "plm_"  # so that a scanner for leaked secrets can know one
KEY_BYTES = 32


def new_key(random_bytes: bytes) -> tuple[str, str]:
    """(the key's text, `sha256:HEX`) of 32 bytes from a generator that is fit for secrets."""
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} random bytes, not {len(random_bytes)}")
    key = PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
