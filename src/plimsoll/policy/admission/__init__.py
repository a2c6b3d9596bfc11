"""Decisions at the door: who may come in, who waits outside."""

from plimsoll.policy.admission.gate import AdmissionGate, GateSettings
from plimsoll.policy.admission.hold import HoldQueue, deadline_after, hold_until
from plimsoll.policy.admission.limiter import ConcurrencyLimit, LimitSettings
from plimsoll.policy.admission.quota import LeasedBucket, Refuse, TenantQuota, TokenBucket

__all__ = [
    "AdmissionGate",
    "ConcurrencyLimit",
    "GateSettings",
    "HoldQueue",
    "LeasedBucket",
    "LimitSettings",
    "Refuse",
    "TenantQuota",
    "TokenBucket",
    "deadline_after",
    "hold_until",
]
