"""What the operator writes: the status of each kind, and the whole of a Revision."""

from typing import Any

from plimsoll.backends.kubernetes.crd.structural import Schema

_FREE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, "maxLength": 4096, **more}


def count(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}


def mapping(description: str, properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    found = {"type": "object", "description": description, "properties": properties}
    return found | ({"required": list(required)} if required else {})


def free(description: str) -> Schema:
    return {**_FREE, "description": description}


GENERATION: Schema = {
    "type": "integer",
    "format": "int64",
    "description": "The generation of the object that this status is of.",
}

_REASON = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
# metav1.Condition, with its own bounds.
_CONDITION = mapping(
    "One thing that is so, isn't, or isn't known.",
    {
        "type": text("What it is about.", maxLength=316),
        "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so."},
        "observedGeneration": {**GENERATION, "minimum": 0},
        "lastTransitionTime": {
            "type": "string",
            "format": "date-time",
            "description": "When the status changed last.",
        },
        "reason": text("Why, in one word.", minLength=1, maxLength=1024, pattern=_REASON),
        "message": text("Why, in a sentence that ends in the remedy where there is one.", maxLength=32768),
    },
    ("type", "status", "lastTransitionTime", "reason", "message"),
)  # fmt: skip
CONDITIONS: Schema = {
    "type": "array",
    "description": "What is so and what isn't, each of a type of its own.",
    "items": _CONDITION,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}

MODEL_SERVICE_STATUS = mapping(
    "How the service does, as the operator sees it.",
    {
        "observedGeneration": GENERATION,
        "conditions": CONDITIONS,
        "url": text("Where it is reached."),
        "replicas": count("Replicas that exist, of all revisions."),
        "readyReplicas": count("Replicas that answer."),
        "desiredReplicas": count("Replicas that the policy wants."),
        "ready": text("Replicas that answer, of those that are wanted: 2/3.", maxLength=64),
        "selector": text("The labels of its pods, as kubectl scale and autoscalers need them."),
        "scaleTarget": text("The workload whose count the scaler writes.", maxLength=253),
        "revision": text("The revision that serves.", maxLength=63),
        "newRevision": text("The revision that is being rolled out. Empty: none.", maxLength=63),
        "p50": text("The p50 of the last window: 12ms.", maxLength=64),
        "p95": text("The p95 of the last window: 18ms.", maxLength=64),
        "p99": text("The p99 of the last window: 31ms.", maxLength=64),
        "requestsPerSecond": text("Requests a second: 412.", maxLength=64),
        "errorRate": text("The share of requests that failed in the last window: 0.02%.", maxLength=64),
        "budget": text("The p99 that is allowed, and whether it is kept: 100ms, or 100ms exceeded.", maxLength=256),
        "modelDigest": text("The digest of the artifact that is served.", maxLength=71),
        "resolved": free("The spec with every default filled in, as it is understood."),
        "allocation": free("Shares of a budget over what it is spent on."),
        "figuresAt": {
            "type": "string",
            "format": "date-time",
            "description": "When the figures above were measured; they are written anew when they differ by 10%.",
        },
    },
)  # fmt: skip

PLAIN_STATUS = mapping("What the operator makes of it.", {"observedGeneration": GENERATION, "conditions": CONDITIONS})

_IMMUTABLE = [{"rule": "self == oldSelf", "message": "a revision never changes; change its ModelService"}]

REVISION_SPEC = mapping(
    "One version of a service: its model with its settings. Written by the operator; it never changes.",
    {
        "service": text(
            "The ModelService, in the same namespace.", maxLength=63, **{"x-kubernetes-validations": _IMMUTABLE}
        ),
        "number": {
            "type": "integer",
            "format": "int32",
            "minimum": 1,
            "description": "Its place among the service's revisions, from 1.",
            "x-kubernetes-validations": _IMMUTABLE,
        },
        "digest": text(
            "SHA-256, in hex, of everything that makes its pods differ from others'.",
            maxLength=64,
            **{"x-kubernetes-validations": _IMMUTABLE},
        ),
        "config": free("The ModelService as its replicas read it; the digest covers it."),
        "template": free("The pod template of its workload; the digest covers it."),
    },
    ("service", "number", "digest"),
)  # fmt: skip
REVISION_STATUS = mapping(
    "How the revision does.",
    {
        "observedGeneration": GENERATION,
        "conditions": CONDITIONS,
        "replicas": count("Replicas that exist."),
        "readyReplicas": count("Replicas that answer."),
    },
)
