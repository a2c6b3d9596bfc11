"""`plimsoll preflight`: whether a cluster is ready, and what it lacks."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import Console, out

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.preflight import Finding

Context = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="A cluster of the kubeconfig, by its context.", show_default=False,
        autocompletion=completion.contexts,
    ),
]  # fmt: skip
ValuesFile = Annotated[
    str | None, typer.Option("--values", "-f", metavar="FILE", help="A values file.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One value: gateway.replicas=3.", show_default=False),
]
SystemNamespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Where Plimsoll lives. [default: plimsoll-system]",
                 show_default=False),
]  # fmt: skip
_WIDTH = 100
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def preflight(
    context: Context = None,
    values: ValuesFile = None,
    sets: Sets = None,
    namespace: SystemNamespace = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A failure to go on with: network-policy.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """Whether a cluster is ready for Plimsoll, and what it lacks.

    Changes nothing. Ends with 1 where something fails.
    """
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.install import read_values
    from plimsoll.app.preflight import gather
    from plimsoll.backends.kubernetes.install.preflight import Level, judge, names
    from plimsoll.core.errors import UserError

    unknown = [name for name in allow or [] if name not in names()]
    if unknown:
        raise UserError(f"--allow {unknown[0]}: expected one of {', '.join(names())}")
    wanted = read_values(values, sets or [], namespace)
    facts = on_cluster(context, None, lambda reach: gather(reach, wanted))
    findings = judge(facts, wanted, allow or [])
    failed = any(one.level is Level.FAIL for one in findings)
    if as_json:
        rows = [{"level": one.level, "name": one.name, "text": one.text} for one in findings]
        print(json.dumps({"ok": not failed, "findings": rows}))
    else:
        tell(out(), findings)
    if failed:
        raise typer.Exit(1)


def tell(console: Console, findings: "Sequence[Finding]") -> None:
    """What is well in few lines, the rest in one each."""
    well = [one.text for one in findings if one.level == "ok"]
    line = ""
    for text in well:
        if line and len(line) + len(text) > _WIDTH:
            _line(console, "ok", line)
            line = ""
        line = f"{line}; {text}" if line else text
    if line:
        _line(console, "ok", line)
    for level in ("warn", "fail"):
        for one in findings:
            if one.level == level:
                _line(console, level, one.text)


def _line(console: Console, level: str, text: str) -> None:
    console.line(f"{console.paint(f'{level:<5}', _STYLES[level])} {text}")
