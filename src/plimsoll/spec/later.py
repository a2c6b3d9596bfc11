"""What the API has but this version doesn't: said so, instead of taking it for a typing mistake.

A capability that gets built moves from here into `parts`.
"""

KINDS = frozenset({"Platform", "Tenant", "Pipeline", "QueueBinding", "Revision"})

# Parent key to the keys below it, as dotted text.
KEYS: dict[str, frozenset[str]] = {
    "spec": frozenset(
        {
            "access", "accelerator", "cache", "fallback", "monitor", "podTemplate", "rollout", "sessionAffinity",
            "workload",
        }
    ),
    "spec.model": frozenset({"uri", "digest", "upstream"}),
    "spec.runtime": frozenset({"engine", "image", "env", "args"}),
    "spec.budget": frozenset({"cost", "ttft", "tpot"}),
    "spec.scaling": frozenset({"policy", "writer", "scaleToZeroAfter", "spares", "scaleDown"}),
}  # fmt: skip

# Key to the values it will take.
VALUES: dict[str, frozenset[object]] = {
    "spec.model.format": frozenset({"XGBoost", "LightGBM", "Torch", "HuggingFace", "MLflow"}),
    "spec.scaling.minReplicas": frozenset({0}),
}

NOT_YET = "not supported by this version yet"
