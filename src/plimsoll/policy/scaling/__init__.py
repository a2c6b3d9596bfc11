"""How many replicas: policies that see an `Observation` each second and return a `Decision`. See docs/scaling.md."""
