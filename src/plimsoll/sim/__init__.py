"""A discrete-event world in virtual time that runs the live policies, for `plimsoll plan`. See docs/plan.md."""

from plimsoll.sim.world import simulate

__all__ = ["simulate"]
