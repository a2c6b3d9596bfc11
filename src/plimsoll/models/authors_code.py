"""What went wrong in an author's code, told in the author's own terms: file and line inside the model's folder."""

import os
import traceback
from collections.abc import Sequence

LONGEST_TEXT = 500  # characters of a message that go into a one-line reason


def describe(error: BaseException) -> str:
    """`ValueError: bad text`, on one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


class AuthorsCode:
    """Tells the author's frames from everybody else's. `roots`: the folders that hold the author's files."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [os.path.join(os.path.abspath(root), "") for root in roots if root]

    def shown(self, filename: str) -> str | None:
        """The name of an author's file relative to its root, or None for a file that is not the author's."""
        for root in self._roots:
            if filename.startswith(root):
                inside = filename[len(root) :]
                # An author's folder often holds a virtual environment.
                if "site-packages" not in inside and "dist-packages" not in inside:
                    return inside
        return None

    def place(self, error: BaseException) -> tuple[str, int] | None:
        """File and line of the innermost of the author's frames; of the mistake itself for a SyntaxError."""
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            shown = self.shown(error.filename)
            if shown:
                return shown, error.lineno
        frames = self._frames(error)
        return (frames[-1].filename, frames[-1].lineno or 0) if frames else None

    def tell(self, error: BaseException) -> str:
        """`ValueError: bad text at model.py:14`."""
        place = self.place(error)
        return f"{describe(error)} at {place[0]}:{place[1]}" if place else describe(error)

    def trace(self, error: BaseException) -> str:
        """The traceback with the author's frames alone."""
        lines = ["Traceback (most recent call last, the model's own files only):\n"]
        lines += traceback.format_list(self._frames(error))
        lines += traceback.format_exception_only(error)
        return "".join(lines).rstrip()

    def _frames(self, error: BaseException) -> list[traceback.FrameSummary]:
        frames = []
        for frame in traceback.extract_tb(error.__traceback__):
            shown = self.shown(frame.filename)
            if shown:
                frames.append(traceback.FrameSummary(shown, frame.lineno, frame.name, line=frame.line))
        return frames
