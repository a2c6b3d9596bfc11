"""The controller's host on a cluster: what is wanted and what is there come from watches, counts go out through the
scale of a workload.

    service      one service between turns          edge       tenants, limits, secrets of namespaces
    places       nodes in time and money            writing    which counts are ours to write
    told         figures for status and autoscalers views      what gateways are told of a service
    controller   the turn, as a list of steps

It scales with `control.scaling`, as a laptop does. Kubernetes itself is not known here: `app.cluster_controller` turns
objects into these words, the backend turns counts into writes.
"""
