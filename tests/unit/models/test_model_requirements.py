"""runtime.requirements against what is installed."""

import pytest

from plimsoll.core.errors import ModelLoadError
from plimsoll.models.requirements import check_requirements


@pytest.mark.parametrize(
    "requirement",
    [
        "numpy",
        "NumPy>=1",
        "pydantic[email]; python_version < '3'",
        "no-such-thing-of-ours; sys_platform == 'amiga'",
        "starlette >=0.1, !=0.2",
    ],
)
def test_what_is_met(requirement):
    check_requirements([requirement])


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        (
            "no-such-thing==3.3.2",
            "m.py needs no-such-thing==3.3.2, which is not installed; run: pip install no-such-thing==3.3.2",
        ),
        ("numpy>=1000", "m.py needs numpy>=1000, but "),
        ("numpy>=1000", "is installed; run: pip install 'numpy>=1000'"),
        ("numpy=>2", "m.py runtime.requirements: 'numpy=>2' is no requirement: "),
        ("-r other.txt", "is no requirement"),
    ],
)
def test_what_is_not(requirement, reason):
    with pytest.raises(ModelLoadError) as caught:
        check_requirements(["numpy", requirement], file="m.py")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_missing_comes_in_one_message():
    with pytest.raises(ModelLoadError, match="run: pip install no-such-a no-such-b"):
        check_requirements(["no-such-a", "numpy", "no-such-b"])


def test_extras_count(monkeypatch):
    import importlib.metadata as module

    class Found:
        version = "1.0"
        requires = ["numpy", "no-such-thing-of-ours>2; extra == 'fast'", "numpy; extra == 'slow'"]  # noqa: RUF012

    real = module.distribution
    monkeypatch.setattr(module, "distribution", lambda name: Found() if name == "thing" else real(name))
    check_requirements(["thing", "thing[slow]"])
    with pytest.raises(ModelLoadError, match=r"needs thing\[fast\], whose extra 'fast' lacks no-such-thing-of-ours"):
        check_requirements(["thing[fast]"])
