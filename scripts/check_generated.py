"""Keeps what is generated from the source as the source has it; part of `make check`.

python scripts/check_generated.py                      fails, with a diff, where the committed schema is stale
python scripts/check_generated.py --write              writes it; refuses a change that breaks valid files
python scripts/check_generated.py --write --breaking   writes it all the same (say why in CHANGELOG.md)
"""

# ruff: noqa: T201  (a script's output is what it prints)

import argparse
import difflib
import json
import sys
from pathlib import Path

from plimsoll.spec.compat import breaking_changes
from plimsoll.spec.schema import json_schema, schema_text

SCHEMA = Path(__file__).resolve().parent.parent / "schema" / "plimsoll.dev_v1alpha1.json"


def main(arguments: list[str] | None = None, *, target: Path = SCHEMA) -> int:
    parser = argparse.ArgumentParser(description="Check or write the generated files.")
    parser.add_argument("--write", action="store_true", help="write them")
    parser.add_argument("--breaking", action="store_true", help="even where files that were valid no longer are")
    options = parser.parse_args(arguments)

    committed = target.read_text(encoding="utf-8") if target.exists() else ""
    wanted = schema_text()
    if committed == wanted:
        return 0
    broken = breaking_changes(json.loads(committed), json_schema()) if committed else []
    for line in broken:
        print(f"breaking  {line}", file=sys.stderr)
    if not options.write:
        diff = difflib.unified_diff(committed.splitlines(), wanted.splitlines(), "committed", "generated", lineterm="")
        print("\n".join(diff))
        print(f"{target.name} is stale; run: python scripts/check_generated.py --write", file=sys.stderr)
        return 1
    if broken and not options.breaking:
        print("nothing written: these files were valid; --breaking writes it all the same", file=sys.stderr)
        return 1
    target.parent.mkdir(exist_ok=True)
    target.write_text(wanted, encoding="utf-8")
    print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
