"""The example of docs/scaling-hpa.md runs, and its tables are complete."""

import re
from pathlib import Path

from plimsoll.policy.scaling.hpa import settings

PAGE = (Path(__file__).parents[5] / "docs" / "scaling-hpa.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example.count("assert ") >= 6
    exec(compile(example, "docs/scaling-hpa.md", "exec"), {})


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert {"target", "window", *settings._KEYS} <= described
