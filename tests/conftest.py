"""For every test: what was skipped and how to get it, and in CI no skip for want of a server or library."""

import os
import re
import signal

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing about it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# What CI has installed (scripts/install-servers.sh, the dev extra): a test that skips for one of these there
# would hide that it no longer runs.
IN_CI = (
    "nginx",
    "wrk",
    "curl",
    "onnxruntime",
    "scikit-learn",
    "sklearn",
    "skops",
    "httpx",
    "needs build",  # the package
    "vader",
    "redis",
    "memcached",
    "jwt",
    "openssl",
    "docker-registry",
    "k8s",
    "lightkube",
    "moto",
)


# A shell's background job ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reason.lower()) for name in IN_CI):
            report.outcome = "failed"
            report.longrepr = f"skipped, but CI has it: {reason}"
    return report


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_sep(
            "-", "skipped, and how to get it (all at once: scripts/install-servers.sh, make .venv)"
        )
        reasons = {
            report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in skipped
        }
        for reason in sorted(reasons):
            terminalreporter.write_line(reason)
