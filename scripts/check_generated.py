"""Keeps what is generated from the source as the source has it; part of `make check`.

python scripts/check_generated.py                      fails, with a diff, where a committed file is stale
python scripts/check_generated.py --write              writes them; refuses a change that breaks valid files or objects
python scripts/check_generated.py --write --breaking   writes them all the same (say why in CHANGELOG.md)

The files: JSON schemas in schema/, custom resource definitions in deploy/crds/.
"""

# ruff: noqa: T201  (a script's output is what it prints)

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from plimsoll.backends.kubernetes.crd import CRD_KINDS, crd, crd_text, file_name
from plimsoll.backends.kubernetes.crd.compat import breaking_crd_changes
from plimsoll.spec import API_VERSION, KINDS, json_schema, schema_text
from plimsoll.spec.compat import breaking_changes

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "schema"
CRD_FOLDER = ROOT / "deploy" / "crds"
STEM = API_VERSION.replace("/", "_")


@dataclass(frozen=True)
class Generated:
    """`breaking`: from the committed text to lines that say what no longer works."""

    path: Path
    title: str
    wanted: str
    breaking: Callable[[str], list[str]]

    @property
    def committed(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""


def files(folder: Path, crd_folder: Path) -> Iterator[Generated]:
    for name, kind in KINDS.items():
        file = f"{STEM}.json" if name == "ModelService" else f"{STEM}_{name.lower()}.json"
        schema = json_schema(kind)
        yield Generated(
            folder / file,
            name,
            schema_text(kind),
            lambda text, schema=schema: breaking_changes(json.loads(text), schema),  # type: ignore[misc]
        )
    for name in CRD_KINDS:
        definition = crd(name)
        yield Generated(
            crd_folder / file_name(name),
            f"CRD {name}",
            crd_text(name),
            lambda text, new=definition: breaking_crd_changes(yaml.safe_load(text), new),  # type: ignore[misc]
        )


def main(arguments: list[str] | None = None, *, folder: Path = FOLDER, crd_folder: Path = CRD_FOLDER) -> int:
    parser = argparse.ArgumentParser(description="Check or write the generated files.")
    parser.add_argument("--write", action="store_true", help="write them")
    parser.add_argument("--breaking", action="store_true", help="even where what was valid no longer is")
    options = parser.parse_args(arguments)

    stale = [one for one in files(folder, crd_folder) if one.committed != one.wanted]
    broken = [f"{one.title}  {line}" for one in stale if one.committed for line in one.breaking(one.committed)]
    for line in broken:
        print(f"breaking  {line}", file=sys.stderr)
    if stale and options.write and broken and not options.breaking:
        print("nothing written: these files were valid; --breaking writes it all the same", file=sys.stderr)
        return 1
    for one in stale:
        if options.write:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            one.path.write_text(one.wanted, encoding="utf-8")
            print(f"wrote {one.path}")
            continue
        before, after = one.committed.splitlines(), one.wanted.splitlines()
        print("\n".join(difflib.unified_diff(before, after, "committed", "generated", lineterm="")))
        print(f"{one.path.name} is stale; run: python scripts/check_generated.py --write", file=sys.stderr)
    return 1 if stale and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
