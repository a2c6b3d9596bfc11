"""The Kubernetes HorizontalPodAutoscaler v2: its algorithm, exact, and what it would do with a service of ours.

`autoscaler` is one autoscaler with its memory; `metrics` picks among several metrics, `calculator` answers for one,
`pods` says which pods count, `behavior` holds windows and rates, `objects` the words of it all. `adapter` makes a
ScalingPolicy of it. Entry points, with an example: docs/scaling-hpa.md.
"""
