"""Counts set by hand: the same words on a laptop and on a cluster."""

import pytest

from plimsoll.cli.by_hand import tell_beyond
from plimsoll.core.by_hand import MOST, beyond, check_by_hand
from plimsoll.core.errors import UserError


def test_what_nobody_means_is_refused():
    check_by_hand(0)
    check_by_hand(MOST)
    check_by_hand(MOST + 1, MOST + 1)
    with pytest.raises(UserError, match="-1 replicas are not possible"):
        check_by_hand(-1)
    with pytest.raises(UserError, match="257 replicas at once are more than 256: is a digit too many"):
        check_by_hand(MOST + 1)


def test_a_count_that_no_policy_would_choose_is_told(capsys):
    assert beyond(None, 4) == beyond(4, 4) == ""
    tell_beyond("mood", 4, {"scaling": {"max_replicas": 4}})
    tell_beyond("mood", 9, {})
    assert capsys.readouterr().err == ""
    tell_beyond("mood", 9, {"scaling": {"max_replicas": 4}})
    said = capsys.readouterr()
    assert said.err == f"  mood   {beyond(9, 4)}\n"
    assert said.out == ""
