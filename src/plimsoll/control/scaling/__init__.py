"""The room where services are scaled: what gateways and replicas say becomes an `Observation` each second, a policy
answers with a `Decision`, and the service's wanted count follows it.

`counts` reads the gateways' running counts, `watching` the replicas' states, starts and service times, `scaler` asks
one service's policy, `capacity` shares a machine that is too small, `scaling` walks all of it each turn and tells the
timeline. What to decide is `policy.scaling`'s and `policy.placement`'s; carrying it out is the reconcile loop's, which
this room changes by two numbers alone: `scaled` and `spares` of a service's state (`scalable`: a laptop's
`ServiceState`, a cluster's `control.cluster.ClusterService`).
"""
