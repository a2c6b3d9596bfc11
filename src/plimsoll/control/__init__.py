"""The controller: from the services a user wants to the replicas that run, the snapshots gateways serve from, the
admin API that tells about it.

`controller.Controller` is the loop, `reconcile` its named steps, `stream` the way to the gateways, `admin` the way to
people. What to decide is `policy`'s; where replicas run is the backend's. Nothing here starts a process, and nothing
here is on a request's way: while the controller is down, gateways serve on from their last snapshot.
"""
