"""What services become, to the byte. `PLIMSOLL_RENEW_GOLDEN=1 pytest …/render` writes the files anew; read the diff."""

import os
from pathlib import Path

import pytest
from tests.unit.backends.kubernetes.render.cases import CASES

from plimsoll.backends.kubernetes.objects import to_yaml

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_rendered_as_it_was(name):
    rendered = CASES[name].rendered()
    notes = "".join(f"# note: {line}\n" for line in rendered.notes)
    text = notes + to_yaml(rendered.objects)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("PLIMSOLL_RENEW_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} differs; renew it with PLIMSOLL_RENEW_GOLDEN=1 and read the diff"


def test_no_golden_file_is_left_over():
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)
