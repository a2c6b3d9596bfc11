"""KEDA: it wakes a service and puts it to sleep, an HPA does the rest. See docs/scaling-peers.md."""
