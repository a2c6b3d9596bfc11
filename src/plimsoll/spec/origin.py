"""Where an object came from, so that a problem found later still names file, line and key."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from plimsoll.core.errors import SpecError

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]{1,63}\Z")
_LONGEST_KEY = 80
_LONGEST_MESSAGE = 400


def dotted(path: Iterable[str | int]) -> str:
    """`spec.routes[0].path`; a key that holds dots or anything unusual is quoted: `metadata.labels["a.b/c"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += '["' + ascii(part[:_LONGEST_KEY])[1:-1] + '"]'
    return text


def one_line(message: str) -> str:
    """Errors are one line each, whatever a file holds: control characters are escaped, overlong text is cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[:_LONGEST_MESSAGE])
    return shown if len(message) <= _LONGEST_MESSAGE else f"{shown}…"


@dataclass(frozen=True, slots=True)
class Origin:
    """`line`: where the document starts. `lines`: dotted key to the line it stands in. From 1; 0: unknown."""

    file: str = ""
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def line_of(self, key: str) -> int:
        """The line of `key`, or of its nearest parent where the key itself was left out."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.line

    def problem(self, key: str, message: str) -> SpecError:
        return SpecError(one_line(message), file=self.file, line=self.line_of(key), key=key)
