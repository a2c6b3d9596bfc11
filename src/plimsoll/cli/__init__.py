"""Commands and what they print. Each command imports what it needs when it runs, so that `--help` stays fast.

Everything that does something lives in `app`. Never starts a process, opens a socket or reads the environment beyond
what a terminal needs to know (`NO_COLOR`, encoding, width).
"""
