"""The examples of docs/scaling-peers.md print what the page says, and its tables are complete."""

import json
import re
from pathlib import Path

from tests.unit.policy.scaling.vectors import VECTORS

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.named import make

PAGE = (Path(__file__).parents[4] / "docs" / "scaling-peers.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_says(capsys):
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for code, printed in examples:
        exec(compile(code, "docs/scaling-peers.md", "exec"), {})
        assert capsys.readouterr().out == printed


def test_every_setting_is_described():
    for name in ("kpa", "keda"):
        section = re.search(rf"^## {name}$(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
        described = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
        try:
            make(f"{name}:nothing=1", Bounds(1, 2))
        except ValueError as error:
            known = set(str(error).rpartition("it has ")[2].split(", "))
        assert known == described


def test_every_text_of_the_table_is_understood():
    texts = re.findall(
        r"`([^`]+)`", "".join(re.findall(r"^\| (`(?:kpa|keda|fixed|schedule)[:`].*?) \|", PAGE, re.MULTILINE))
    )
    assert len(texts) >= 8
    for text in texts:
        make(text, Bounds(0, 10))


def test_the_numbers_of_cases_are_right():
    for folder, count in re.findall(r"`tests/vectors/(\w+)`\s\((\d+) cases", PAGE):
        found = sum(len(json.loads(path.read_text())["cases"]) for path in (VECTORS / folder).glob("*.json"))
        assert found == int(count)
