"""What a mounted Secret says: its keys are files. Nothing of it is logged, printed or put into the environment."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plimsoll.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Credentials:
    """`values`: key to text. Empty: workload identity, or what the library finds by itself."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None

    def get(self, *names: str) -> str:
        """The first of the names that is there; capitals, `-` and `_` make no difference. "" without one."""
        known = {_plain(key): value for key, value in self.values.items()}
        return next((known[_plain(name)] for name in names if _plain(name) in known), "")

    def file(self, *names: str) -> Path | None:
        """The file of a key, for libraries that want a path."""
        for key in self.values:
            if self.folder is not None and key in names:
                return self.folder / key
        return None

    @property
    def http_header(self) -> str:
        """Of `Authorization`: from `token`, or `username` and `password`."""
        token = self.get("token", "HF_TOKEN")
        if token:
            return f"Bearer {token}"
        username, password = self.get("username"), self.get("password")
        return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}" if username else ""


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def read_credentials(folder: Path | None) -> Credentials:
    """Raises UserError where the folder isn't there: the Secret isn't mounted."""
    if folder is None:
        return Credentials()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; mount the secret of spec.model.secretRef there")
    # A mounted Secret keeps its versions in `..data`; `.dockerconfigjson` is a key.
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith("..") and file.is_file()]
    return Credentials({file.name: file.read_text(encoding="utf-8").strip() for file in files}, folder)
