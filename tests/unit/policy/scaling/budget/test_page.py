"""docs/scaling.md: its example runs, its tables are complete."""

import re
from dataclasses import fields
from pathlib import Path

from bench.tail import POINTS
from tests.unit.policy.scaling.budget.timeline import Timeline

from plimsoll.policy.scaling.budget import BudgetSettings
from plimsoll.policy.scaling.named import make, split

PAGE = (Path(__file__).parents[5] / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_example_runs_and_prints_such_lines(capsys):
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/scaling.md", "exec"), {})
    found = capsys.readouterr().out
    for text in (printed, found):
        changes = re.findall(r"^ *(\d+) s \d+ → \d+: \d+/s forecast in 8\.0 s; .+$", text, re.MULTILINE)
        assert 3 <= len(changes) <= 8, "a wave up and a wave down"
        assert "'headroom': 'q" in text


def test_every_setting_is_described():
    section = PAGE.partition("## Settings")[2].partition("\n## ")[0]
    described = re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    assert sorted(described) == sorted(field.name.replace("_", "-") for field in fields(BudgetSettings))
    for names, values in re.findall(r"^\| (`[a-z-]+`.*?) \| ([\d.,% ]+) \|", section, re.MULTILINE):
        for name, value in zip(re.findall(r"`([a-z-]+)`", names), values.split(", "), strict=True):
            number = float(value.rstrip("%")) / (100 if value.endswith("%") else 1)
            assert getattr(BudgetSettings(), name.replace("-", "_")) == number, name


def test_every_policy_of_the_command_is_known():
    (policies,) = re.findall(r"--policies (\S+)", PAGE.partition("```\n$ plimsoll plan")[2])
    for text in split(policies):
        if text != "oracle":
            make(text, Timeline().policy.bounds)


def test_every_figure_of_the_evidence_is_described():
    world = Timeline(start=2)
    world.run(30, 500)
    section = PAGE.partition("| evidence | |")[2].partition("\n## ")[0]
    described = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    assert sorted(described) == sorted(world.decision.evidence)


def test_the_table_of_errors_is_that_of_the_bench():
    section = PAGE.partition("## Predicted tail")[2].partition("\n## ")[0]
    told = re.findall(r"^\| .* \| ([\d,]+)(?:/s)? \| [\d,]+(?:/s)? \| [+-]?\d+% \|$", section, re.MULTILINE)
    found = [point.tail.takes(point.replicas) for point in POINTS]
    assert [int(one.replace(",", "")) for one in told] == [round(one) for one in found]
