"""Every test of the gateway runs on both event loops."""

import functools

import pytest
from tests.support.gateway_host import run


@pytest.fixture(params=["uvloop", "asyncio"])
def play(request):
    """Runs an async function to its end."""
    return functools.partial(run, request.param)
