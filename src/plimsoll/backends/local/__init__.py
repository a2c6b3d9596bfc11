"""Replicas as processes on this machine.

`spawner_fork` (with its child program `forkserver`) and `spawner_exec` start processes; `child` is what runs in them
before the entry point; `backend` keeps as many as were asked for. docs/processes.md tells who starts, watches and ends
whom. Everything here runs on one event loop, except `forkserver` and `child`, which run in processes of their own and
import as little as they can.
"""
