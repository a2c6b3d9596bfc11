"""A backend in memory and in virtual time: for tests, for the simulator, for trying a controller without a process.

Never starts a process, sleeps or reads a clock of its own.
"""
