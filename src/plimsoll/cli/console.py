"""What a terminal can show: colours only where somebody looks at them, plain symbols where there are no others."""

import os
import sys
from typing import TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_PLAIN = {"✓": "ok", "✗": "FAIL", "→": "->", "…": "..."}


class Console:
    """One output stream. `colour`: a TTY without NO_COLOR (https://no-color.org). `fancy`: a TTY that speaks UTF-8."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        tty = self.stream.isatty()
        self.colour = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.fancy = tty and (self.stream.encoding or "").lower().replace("-", "") == "utf8"

    @property
    def stream(self) -> TextIO:
        return self._stream if self._stream is not None else sys.stdout

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and style else text

    def symbol(self, symbol: str) -> str:
        return symbol if self.fancy else _PLAIN[symbol]

    def line(self, text: str = "", style: str = "") -> None:
        """Flushed: `up` and `logs -f` are watched live through pipes too. Characters that the encoding lacks become
        `?` instead of a traceback."""
        text = self.paint(text, style)
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()


def out() -> Console:
    return Console(sys.stdout)


def err() -> Console:
    return Console(sys.stderr)
