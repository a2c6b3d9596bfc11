"""Who gets how much where several services want more than there is room for. See docs/scaling-peers.md."""

from plimsoll.policy.placement.miss import expected_miss, missed_shares
from plimsoll.policy.placement.seen import want_of
from plimsoll.policy.placement.sharing import STICK, Want, share

__all__ = ["STICK", "Want", "expected_miss", "missed_shares", "share", "want_of"]
