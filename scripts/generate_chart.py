"""Keeps deploy/chart as its source has it: `plimsoll install` and the chart come from one list of functions.

python scripts/generate_chart.py            fails, naming each file that is stale
python scripts/generate_chart.py --write    writes them
"""

# ruff: noqa: T201  (a script's output is what it prints)

import argparse
import sys
from pathlib import Path

from plimsoll.backends.kubernetes.install.chart import chart_files

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "chart"


def wanted() -> dict[str, str]:
    from plimsoll.app.install import crd_objects

    return chart_files(crd_objects())


def main(arguments: list[str] | None = None, *, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description="Check or write the Helm chart.")
    parser.add_argument("--write", action="store_true", help="write it")
    options = parser.parse_args(arguments)
    files = wanted()
    there = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    stale = [name for name, text in files.items() if name not in there or there[name].read_text("utf-8") != text]
    extra = [name for name in there if name not in files]
    if options.write:
        for name in stale:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(files[name], encoding="utf-8")
        for name in extra:
            there[name].unlink()
        print(f"{folder}: {len(stale)} written, {len(extra)} removed")
        return 0
    for name in stale + extra:
        print(f"deploy/chart/{name} is stale; run: python scripts/generate_chart.py --write", file=sys.stderr)
    return 1 if stale or extra else 0


if __name__ == "__main__":
    sys.exit(main())
