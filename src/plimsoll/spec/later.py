"""What the API has but this version doesn't: said so, instead of taking it for a typing mistake.

A capability that gets built moves from here into the parts of its kind.
"""

KINDS = frozenset({"Pipeline", "QueueBinding", "Revision"})

# Kind to parent key to the keys below it, as dotted text.
KEYS: dict[str, dict[str, frozenset[str]]] = {
    "ModelService": {
        "spec": frozenset({"monitor", "rollout"}),
        "spec.model": frozenset({"upstream"}),
        "spec.runtime": frozenset({"engine", "args"}),
        "spec.budget": frozenset({"ttft", "tpot"}),
        "spec.budget.cost": frozenset({"perMillionTokens"}),
        "spec.fallback": frozenset({"upstream"}),
    },
    # Services hold accelerators, and a tenant calls services: what its quota of them would bound is to be defined.
    "Tenant": {"spec.quota": frozenset({"accelerators"})},
    "Platform": {
        "spec": frozenset({"retention"}),
    },
}

# Kind to key to the values it will take.
VALUES: dict[str, dict[str, frozenset[object]]] = {
    "ModelService": {
        "spec.model.format": frozenset({"XGBoost", "LightGBM", "Torch", "HuggingFace", "MLflow"}),
        "spec.fallback.type": frozenset({"Upstream"}),
    },
}

NOT_YET = "not supported by this version yet"
