"""Makes an API key for a tenant: the key for its owner, its hash into a secret."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from plimsoll.app.secrets import SecretFiles
from plimsoll.core.api_keys import KEY_BYTES, new_key
from plimsoll.core.errors import UserError
from plimsoll.spec import parse_key_hashes

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class MadeKey:
    """`lines`: what the Tenant's `spec.auth.apiKeys` has to say. `digests`: how many keys the secret now holds."""

    key: str = field(repr=False)
    file: Path
    lines: tuple[str, ...]
    digests: int


def make_key(tenant: str, key_name: str, secrets: Path) -> MadeKey:
    """Adds the new key's hash to `secrets/TENANT-keys/KEYNAME`, so that the old one opens as long as its line stands
    there. Raises UserError for a name that is none and for a file that holds something else; HostError."""
    for what, name in (("tenant", tenant), ("--key-name", key_name)):
        if not _NAME.match(name):
            raise UserError(f"{what} {name[:63]!r}: expected lower-case letters, digits and -, at most 63")
    files, secret = SecretFiles(secrets), f"{tenant}-keys"
    path = files.path(Path(), secret, key_name)
    try:
        before = parse_key_hashes(path.read_text(encoding="utf-8")) if path.exists() else ()
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}; move it away, or choose another --key-name") from None
    key, digest = new_key(os.urandom(KEY_BYTES))
    files.write_line(Path(), secret, key_name, digest)
    lines = (f"- name: {key_name}", f"  hashSecretRef: {{name: {secret}, key: {key_name}}}")
    return MadeKey(key, path, lines, len(before) + 1)
