"""A plan's table, and what is said below it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.cli.console import Console

if TYPE_CHECKING:
    from plimsoll.sim.report import Advice, Report, Row

COLUMNS = (
    "POLICY", "REQUESTS", "LATE", "REFUSED", "P50", "P95", "P99", "REPLICA-H", "NODE-H", "COST", "ACTS", "x ORACLE",
)  # fmt: skip
_MAYBE = frozenset({"NODE-H", "COST", "x ORACLE"})
# In the order in which a narrow terminal does without them.
_SPARE = ("P50", "ACTS", "P95", "REQUESTS")


def print_report(report: "Report", console: Console, page: Path | None, said: "Sequence[Advice]" = ()) -> None:
    """`said`: advice that was printed before anything was simulated."""
    import shutil

    from plimsoll.sim.html import verdict

    width = shutil.get_terminal_size().columns if console.stream.isatty() else 240
    for line in report.about.notes:
        console.line(f"  {line}", "yellow")
    console.line()
    for line in lines(report, width, console):
        console.line(line)
    told = [*outcomes(report), *report.about.measured]
    if told:
        console.line()
    for line in told:
        console.line(f"  {line}", "dim")
    console.line()
    word = console.paint("VERDICT", "red" if report.breached else "green")
    written = f". Page: {page}" if page is not None else ""
    console.line(f"  {word}  {verdict(report)}{written}")
    several = len(report.about.own) > 1
    for one in report.advice:
        if one in said:
            continue
        name = f"{one.service}: " if several and one.service else ""
        console.line(f"  {console.paint('advice', 'cyan')}   {name}{one.text}")
    if report.about.interrupted:
        console.line("  ended early: of what is missing nothing is known", "yellow")


def lines(report: "Report", width: int, console: Console) -> list[str]:
    """The table: columns that no row fills are left out, and what `width` can't hold."""
    from plimsoll.cli.table import fitting

    several = len(report.about.own) > 1
    rows = [cells(row, report) for row in report.rows]
    heads = list(COLUMNS)
    if several:
        heads.insert(0, "SERVICE")
        rows = [[row.service or "all", *line] for row, line in zip(report.rows, rows, strict=True)]
    empty = [at for at, head in enumerate(heads) if head in _MAYBE and all(row[at] == "-" for row in rows)]
    heads = [head for at, head in enumerate(heads) if at not in empty]
    rows = [[text for at, text in enumerate(row) if at not in empty] for row in rows]
    shown = fitting(heads, rows, width - 2, _SPARE)
    widths = [max([len(heads[at]), *(len(row[at]) for row in rows)]) for at in shown]
    left = 2 if several else 1

    def placed(texts: list[str]) -> str:
        parts = [
            texts[at].ljust(wide) if place < left else texts[at].rjust(wide)
            for place, (at, wide) in enumerate(zip(shown, widths, strict=True))
        ]
        return "  " + "  ".join(parts).rstrip()

    found = [console.paint(placed(heads), "dim")]
    for row, line in zip(report.rows, rows, strict=True):
        own = report.about.own.get(row.service) == row.name
        found.append(console.paint(placed(line), "bold" if own else ""))
    return found


def cells(row: "Row", report: "Report") -> list[str]:
    """What breaks the budget ends in `!`."""
    from plimsoll.sim.report import amount, marked, millis, price

    late, refused = marked(row)
    return [
        row.name,
        f"{row.offered:,}",
        late,
        refused,
        *(millis(value) for value in (row.p50_s, row.p95_s, row.p99_s)),
        amount(row.replica_hours),
        amount(row.node_hours),
        price(row.cost, report.about.money.currency),
        "-" if row.name == "oracle" else f"{row.scaling_acts:,}",
        "-" if row.oracle_ratio is None else f"{row.oracle_ratio:.2f}",
    ]


def outcomes(report: "Report") -> list[str]:
    """Each policy's requests by outcome, `ok` first."""
    several = len(report.about.own) > 1
    rows = [row for row in report.rows if row.outcomes and (not several or not row.service)]
    wide = max((len(row.name) for row in rows), default=0)
    found = []
    for row in rows:
        counts = sorted(row.outcomes.items(), key=lambda one: (one[0] != "ok", -one[1]))
        found.append(f"{row.name.ljust(wide)}  " + "  ".join(f"{name} {count:,}" for name, count in counts if count))
    return found
