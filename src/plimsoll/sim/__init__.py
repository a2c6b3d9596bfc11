"""A discrete-event world in virtual time that runs the live policies: `plimsoll plan` is made of it. See docs/plan.md."""
