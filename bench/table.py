"""Results as a table: who, medians over the rounds, the ratio that matters and the bar it is held against."""

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """`ratio` is what is compared, `bar` what it should reach ("≥ 8.0"), empty where there is none."""

    part: str
    what: str
    figure: str
    against: str = ""
    ratio: float | None = None
    bar: str = ""

    @property
    def verdict(self) -> str:
        if not self.bar or self.ratio is None:
            return ""
        sign, value = self.bar.split()
        return "ok" if (self.ratio >= float(value) if sign == "≥" else self.ratio <= float(value)) else "MISSED"


def show(rows: list[Row]) -> str:
    head = ("part", "what", "plimsoll", "against", "ratio", "bar", "")
    cells = [head] + [
        (r.part, r.what, r.figure, r.against, "" if r.ratio is None else f"{r.ratio:.2f}", r.bar, r.verdict)
        for r in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def markdown(rows: list[Row]) -> str:
    lines = ["| part | what | Plimsoll | against | ratio | bar |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        bar = f"{row.bar} (missed)" if row.verdict == "MISSED" else row.bar
        lines.append(f"| {row.part} | {row.what} | {row.figure} | {row.against} | {ratio} | {bar} |")
    return "\n".join(lines)


def write_into(path: Path, name: str, text: str) -> None:
    """Between the markers that `path` has for the table `name`."""
    first, last = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise RuntimeError(f"{path} has no place for the table")
    path.write_text(f"{before}{begin}{text}\n{end}{after}")


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    return [asdict(row) | {"verdict": row.verdict} for row in rows]
