"""Keeps what is generated from the source as the source has it; part of `make check`.

python scripts/check_generated.py                      fails, with a diff, where a committed schema is stale
python scripts/check_generated.py --write              writes them; refuses a change that breaks valid files
python scripts/check_generated.py --write --breaking   writes them all the same (say why in CHANGELOG.md)
"""

# ruff: noqa: T201  (a script's output is what it prints)

import argparse
import difflib
import json
import sys
from pathlib import Path

from plimsoll.spec import API_VERSION, KINDS, json_schema, schema_text
from plimsoll.spec.compat import breaking_changes

FOLDER = Path(__file__).resolve().parent.parent / "schema"
STEM = API_VERSION.replace("/", "_")
FILES = {
    kind: f"{STEM}.json" if name == "ModelService" else f"{STEM}_{name.lower()}.json" for name, kind in KINDS.items()
}


def main(arguments: list[str] | None = None, *, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description="Check or write the generated files.")
    parser.add_argument("--write", action="store_true", help="write them")
    parser.add_argument("--breaking", action="store_true", help="even where files that were valid no longer are")
    options = parser.parse_args(arguments)

    committed = {kind: _text(folder / name) for kind, name in FILES.items()}
    stale = [kind for kind in FILES if committed[kind] != schema_text(kind)]
    broken = [
        f"{kind.__name__}  {line}"
        for kind in stale
        if committed[kind]
        for line in breaking_changes(json.loads(committed[kind]), json_schema(kind))
    ]
    for line in broken:
        print(f"breaking  {line}", file=sys.stderr)
    if stale and options.write and broken and not options.breaking:
        print("nothing written: these files were valid; --breaking writes it all the same", file=sys.stderr)
        return 1
    for kind in stale:
        target, wanted = folder / FILES[kind], schema_text(kind)
        if options.write:
            folder.mkdir(exist_ok=True)
            target.write_text(wanted, encoding="utf-8")
            print(f"wrote {target}")
            continue
        before, after = committed[kind].splitlines(), wanted.splitlines()
        print("\n".join(difflib.unified_diff(before, after, "committed", "generated", lineterm="")))
        print(f"{target.name} is stale; run: python scripts/check_generated.py --write", file=sys.stderr)
    return 1 if stale and not options.write else 0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
