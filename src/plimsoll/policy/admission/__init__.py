"""Decisions at the door: who may come in, who waits outside."""

from plimsoll.policy.admission.gate import AdmissionGate, GateSettings
from plimsoll.policy.admission.hold import HoldQueue
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
]
