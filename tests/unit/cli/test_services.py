"""What commands on running services say of their options."""

import pytest

from plimsoll.cli.services import seconds
from plimsoll.core.errors import UserError


def test_a_duration_that_is_none_is_told_with_its_own_option():
    assert seconds("10m") == 600
    with pytest.raises(UserError, match="--timeout: 'bla' is no duration"):
        seconds("bla")
    with pytest.raises(UserError, match="--for: 'bla' is no duration"):
        seconds("bla", "--for")
