"""What of a folder is no part of a model: defaults, and a `.plimsollignore` in the manner of `.gitignore`."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

IGNORE_FILE = ".plimsollignore"

# Beside a model lie its service files, its notes, its tests and examples. Hidden files count as ignored, too.
DEFAULTS = (
    ".*",
    "__pycache__/",
    "node_modules/",
    "tests/",
    "test/",
    "secrets/",
    "test_*.py",
    "conftest.py",
    "*.pyc",
    "*.md",
    "*.plimsollignore",
    "*request.json",
    "*expected.json",
    "Dockerfile",
    "docker-compose*.y*ml",
)


class Ignored:
    """Patterns in order, the last that fits decides: `*.csv`, `data/` (folders alone), `/top.txt` (here alone),
    `a/b.txt`, `**`, and `!keep.csv` to take something back. `#` begins a comment."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._rules: list[tuple[str, bool, bool, bool]] = []  # pattern, taken back, folders alone, from the top
        for line in (*DEFAULTS, *patterns):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            back = text.startswith("!")
            text = text.removeprefix("!")
            folder = text.endswith("/")
            text = text.rstrip("/")
            from_top = "/" in text
            text = text.removeprefix("/")
            if text:
                self._rules.append((text, back, folder, from_top))

    def __call__(self, path: str, *, folder: bool) -> bool:
        """`path`: relative to the model's folder, with `/`."""
        ignored = False
        name = path.rpartition("/")[2]
        for pattern, back, folders_alone, from_top in self._rules:
            if folders_alone and not folder:
                continue
            if fnmatchcase(path if from_top else name, pattern):
                ignored = not back
        return ignored
