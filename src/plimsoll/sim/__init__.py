"""A discrete-event world in virtual time that runs the live policies, for `plimsoll plan`. See docs/plan.md."""
