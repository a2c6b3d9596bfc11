"""What a replica in a pod imports before its model: a request may be waiting for it."""

import subprocess
import sys

import pytest

NEEDLESS = ("yaml", "packaging", "lightkube", "httpx2", "cryptography", "aiohttp", "grpc", "typer", "rich", "jinja2")


@pytest.mark.parametrize("entry", ["plimsoll.app.pod_replica", "plimsoll.app.replica"])
def test_nothing_that_it_does_not_need(entry):
    text = f"import {entry}, plimsoll.server, sys; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert "plimsoll.server.replica" in told
    assert [name for name in NEEDLESS if name in told] == []
