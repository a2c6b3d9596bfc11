"""Knative's pod autoscaler (KPA), exact to knative/serving: see docs/scaling-peers.md."""
