"""A profile as a file: what is written is read, and what makes no sense is named."""

import json

import pytest

from plimsoll.core.errors import UserError
from plimsoll.insight.profile import LogNormal, Profile, read_profile

GOOD = Profile(0.004, 0.0015, cold_p90_s=9.0, max_batch=64, name="mood", memory_bytes=1 << 30)


@pytest.mark.parametrize("profile", [GOOD, Profile(0.0, 0.2, lognormal=LogNormal(0.4, 0.08, 0.07), max_batch=1)])
def test_what_is_written_is_read(profile):
    assert read_profile(profile.to_json(), "p.json") == profile


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a_s": -1}, "a_s: -1; expected 0 or more"),
        ({"a_s": float("nan")}, "a_s: nan; expected 0 or more"),
        ({"c_s": float("inf")}, "c_s: inf; expected 0 or more"),
        ({"c_s": "4ms"}, "c_s: '4ms'; expected 0 or more"),
        ({"c_s": True}, "c_s: True; expected 0 or more"),
        ({"a_s": None}, "a_s: None; expected 0 or more"),
        ({"a_s": 0, "c_s": 0}, "a_s and c_s: a batch takes no time at all"),
        ({"max_batch": 0}, "max_batch: 0; expected 1 or more"),
        ({"max_batch": 2.5}, "max_batch: 2.5; expected 1 or more"),
        ({"name": 3}, "name: 3; expected text"),
        ({"cold": 3}, "cold: no key of a profile"),
        ({"lognormal": 3}, "lognormal: 3; expected shape, loc_s and scale_s"),
        ({"lognormal": {"shape": 1, "loc_s": 0.1}}, "lognormal.scale_s: missing"),
        ({"lognormal": {}}, "lognormal.shape: missing"),
        ({"lognormal": {"shape": "x", "loc_s": 0, "scale_s": 1}}, "lognormal.shape: 'x'; expected 0 or more"),
    ],
)
def test_what_makes_no_sense_is_named_with_the_file_and_the_remedy(change, words):
    text = json.dumps(json.loads(GOOD.to_json()) | change)
    with pytest.raises(UserError) as raised:
        read_profile(text, "p.json")
    assert str(raised.value).startswith("p.json: not a profile; make one with: plimsoll profile FILE (")
    assert words in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"plimsollProfile": 2}', '{"plimsollProfile": 1}'])
def test_what_is_no_profile(text):
    with pytest.raises(UserError, match="not a profile"):
        read_profile(text, "p.json")
