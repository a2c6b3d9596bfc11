"""Decisions: which request to run or refuse, where to send it, how many replicas, what to do after a failure.

Plain synchronous objects: `now` is an argument, a random generator is passed in, a decision is returned and the host
acts on it. The live hosts and the simulator construct the same objects. Never sleeps, logs, does I/O or imports
another policy: each package here stands alone.
"""
