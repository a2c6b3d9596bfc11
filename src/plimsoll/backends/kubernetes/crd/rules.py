"""What holds between keys, as CEL rules that the API server checks: the loader's own rules, as far as CEL can say them.

A rule stands at the mapping whose keys it reads. Its message is what the user sees, so it names the remedy; `fieldPath`
makes the error name the key. Defaults are not stored, so each rule says what a missing key means.
"""

from typing import Any, NamedTuple

Schema = dict[str, Any]


class Rule(NamedTuple):
    """`rule` is true where all is well. `field`: the key below the rule's place that the error names."""

    rule: str
    message: str
    field: str = ""

    def schema(self) -> Schema:
        found = {"rule": self.rule, "message": self.message}
        return found | ({"fieldPath": f".{self.field}"} if self.field else {})


_POLICY = "(has(self.policy) ? self.policy : 'Budget')"
_WRITER = "(has(self.writer) ? self.writer : 'Controller')"
_LEAST = "(has(self.minReplicas) ? self.minReplicas : 1)"
_P99 = "has(self.budget) && has(self.budget.latency) && has(self.budget.latency.p99)"


def _rises(lower: str, upper: str) -> Rule:
    return Rule(
        f"!has(self.{lower}) || !has(self.{upper}) || duration(self.{upper}) >= duration(self.{lower})",
        f"must not be below {lower}",
        upper,
    )


def _covers(key: str) -> Rule:
    has = f"has(self.requests) && has(self.requests.{key}) && has(self.limits) && has(self.limits.{key})"
    least = f"quantity(string(self.requests.{key}))"
    return Rule(
        f"!({has}) || quantity(string(self.limits.{key})).compareTo({least}) >= 0",
        f"limits.{key} must not be below requests.{key}",
        "limits",
    )


def _settings(key: str, policy: str) -> Rule:
    return Rule(
        f"!has(self.{key}) || {_POLICY} == '{policy}'", f"belongs to policy: {policy}; remove it or change that", key
    )


def _either(first: str, second: str, message: str) -> Rule:
    return Rule(f"has(self.{first}) != has(self.{second})", message)


def _belongs(field: str, kind: str) -> tuple[Rule, Rule]:
    """Of a fallback: a field that one type needs and no other has."""
    return (
        Rule(f"self.type != '{kind}' || has(self.{field})", f"a {kind} fallback needs {field}"),
        Rule(f"self.type == '{kind}' || !has(self.{field})", f"belongs to type: {kind}; remove it", field),
    )


_SPEC = (
    Rule(
        f"!has(self.timeout) || !({_P99}) || duration(self.timeout) >= duration(self.budget.latency.p99)",
        "must not be below the p99 budget: an answer inside the budget would be worthless",
        "timeout",
    ),
    Rule(
        f"!has(self.batching) || !has(self.batching.linger) || !({_P99}) || "
        "duration(self.batching.linger) < duration(self.budget.latency.p99)",
        "batching.linger uses up the p99 budget; write less",
        "batching",
    ),
    Rule(
        "!has(self.hedging) || self.hedging != 'Slow' || !has(self.retry) || self.retry != 'Never'",
        "Slow asks two replicas, and retry: Never allows one; remove hedging, or write retry: Once",
        "hedging",
    ),
    Rule(
        "!has(self.volumeClaims) || size(self.volumeClaims) == 0 || "
        "(has(self.workload) && self.workload == 'StatefulSet')",
        "only a StatefulSet has claims of its own; write workload: StatefulSet, or remove them",
        "volumeClaims",
    ),
    Rule(
        "!has(self.fallback) || has(self.cache) || !self.fallback.exists(f, f.type == 'StaleCache')",
        "StaleCache needs a cache to take from; add cache: {ttl: 10m}",
        "fallback",
    ),
)
_MODEL = (
    _either("path", "uri", "expected exactly one of path (which plimsoll pack turns into uri and digest) and uri"),
    Rule("!has(self.digest) || has(self.uri)", "belongs to uri; remove it", "digest"),
    Rule("!has(self.secretRef) || has(self.uri)", "belongs to uri; remove it", "secretRef"),
    Rule(
        "!has(self.uri) || !self.uri.startsWith('http://') || has(self.digest)",
        "http:// lets anybody on the way change the model; expected digest: sha256:…, or https://",
        "uri",
    ),
)
_SCALING = (
    Rule(
        f"!has(self.maxReplicas) || self.maxReplicas >= {_LEAST}",
        "must not be below minReplicas (1 where it is not written)",
        "maxReplicas",
    ),
    Rule(
        f"{_WRITER} != 'HPA' || {_POLICY} != 'Fixed'",
        "HPA can't write what policy Fixed decides; choose another policy, or writer: Controller",
        "writer",
    ),
    Rule(
        f"{_WRITER} != 'KEDA' || {_POLICY} in ['Budget', 'KPA', 'Schedule']",
        "KEDA writes what policy Budget, KPA or Schedule decides; choose one of them, or writer: Controller",
        "writer",
    ),
    Rule(
        f"!({_POLICY} in ['HPA', 'Fixed']) || {_LEAST} > 0",
        "policies HPA and Fixed don't go to zero; write 1 or more, or another policy",
        "minReplicas",
    ),
    Rule(
        f"{_POLICY} != 'Fixed' || !has(self.maxReplicas) || self.maxReplicas == {_LEAST}",
        "Fixed runs minReplicas; remove maxReplicas, or choose a policy that scales: Budget",
        "maxReplicas",
    ),
    Rule(
        f"!has(self.scaleToZeroAfter) || {_LEAST} == 0",
        "nothing goes to zero with minReplicas of 1 and more; remove it, or write minReplicas: 0",
        "scaleToZeroAfter",
    ),
    _settings("hpa", "HPA"),
    _settings("kpa", "KPA"),
    _settings("schedule", "Schedule"),
    Rule(f"{_POLICY} != 'Schedule' || has(self.schedule)", "policy Schedule needs schedule: {entries: […]}", "policy"),
    Rule(
        f"!has(self.hpa) || !has(self.hpa.memoryTarget) || {_WRITER} == 'HPA'",
        "hpa.memoryTarget: only Kubernetes' HPA measures memory; write writer: HPA, or remove it",
        "hpa",
    ),
)
_HPA = (
    Rule(
        "!has(self.metric) || self.metric != 'RequestsPerSecond' || "
        "(has(self.target) && !string(self.target).endsWith('%'))",
        'RequestsPerSecond needs a number: target: "400"',
        "metric",
    ),
    Rule(
        "(has(self.metric) && self.metric != 'CPU') || !has(self.target) || string(self.target).endsWith('%')",
        "CPU expects a share, such as 70%",
        "target",
    ),
)

MODEL_SERVICE: dict[str, tuple[Rule, ...]] = {
    "spec": _SPEC,
    "spec.model": _MODEL,
    "spec.runtime.env": (_either("value", "secretRef", "expected exactly one of value and secretRef"),),
    "spec.budget.latency": (_rises("p50", "p95"), _rises("p50", "p99"), _rises("p95", "p99")),
    "spec.budget.cost": (
        Rule("has(self.perMillionRequests) || has(self.perHour)", "expected perMillionRequests or perHour"),
    ),
    "spec.scaling": _SCALING,
    "spec.scaling.hpa": _HPA,
    "spec.resources": (_covers("cpu"), _covers("memory")),
    "spec.cache.backend": (
        Rule("self.type != 'Memory' || !has(self.secretRef)", "a cache in memory has no URL; remove it", "secretRef"),
        Rule("self.type == 'Memory' || has(self.secretRef)", "Redis and Memcached need the secret with their URL"),
    ),
    "spec.fallback": (
        *_belongs("maxAge", "StaleCache"),
        *_belongs("service", "Service"),
        *_belongs("body", "Static"),
        Rule("self.type == 'Static' || !has(self.contentType)", "belongs to type: Static; remove it", "contentType"),
    ),
}

TENANT: dict[str, tuple[Rule, ...]] = {
    "spec.auth": (
        Rule(
            "has(self.jwt) || (has(self.apiKeys) && size(self.apiKeys) > 0) || "
            "(has(self.certificates) && size(self.certificates) > 0)",
            "nothing tells this tenant from others; expected apiKeys, jwt or certificates",
        ),
    ),
}

PLATFORM: dict[str, tuple[Rule, ...]] = {
    "spec": (
        Rule(
            "!has(self.acceleratorClasses) || self.acceleratorClasses.all(a, !has(a.nodeClass) || "
            "(has(self.nodeClasses) && self.nodeClasses.exists(n, n.name == a.nodeClass)))",
            "a nodeClass that acceleratorClasses name is missing in nodeClasses",
            "acceleratorClasses",
        ),
    ),
    "spec.gateway.hostnameTemplate": (
        Rule("self.contains('{name}')", "gives all services one host; expected {name} in it"),
        Rule(
            "self.replace('{namespace}', 'a').replace('{name}', 'a')"
            ".matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)+$')",
            "is no host name with {name} and {namespace}: {name}.{namespace}.infer.example.com",
        ),
    ),
    "spec.gateway.tls": (Rule("has(self.secretName) || has(self.issuerRef)", "expected secretName or issuerRef"),),
    "spec.nodeClasses": (
        Rule(
            "!has(self.maxNodes) || !has(self.minNodes) || self.maxNodes >= self.minNodes",
            "must not be below minNodes",
            "maxNodes",
        ),
        Rule(
            "!has(self.maxWatts) || !has(self.idleWatts) || self.maxWatts >= self.idleWatts",
            "must not be below idleWatts",
            "maxWatts",
        ),
    ),
    "spec.acceleratorClasses": (
        _either("resourceName", "deviceClassName", "expected exactly one of resourceName and deviceClassName"),
    ),
    "spec.modelCache": (
        Rule("!has(self.type) || self.type != 'PVC' || has(self.size)", "a PVC needs size: 100Gi", "type"),
        Rule(
            "!has(self.path) || (has(self.type) && self.type == 'HostPath')",
            "belongs to type: HostPath; remove it",
            "path",
        ),
        Rule(
            "!has(self.storageClassName) || (has(self.type) && self.type == 'PVC')",
            "belongs to type: PVC; remove it",
            "storageClassName",
        ),
        Rule(
            "!has(self.size) || (has(self.type) && self.type != 'None')",
            "belongs to type: HostPath or PVC; remove it",
            "size",
        ),
    ),
}


def with_rules(schema: Schema, rules: dict[str, tuple[Rule, ...]]) -> Schema:
    """`schema` with the rules at their places, in a list in its items. Raises KeyError where there is no such place."""
    for place, found in rules.items():
        node = schema
        for part in place.split("."):
            node = _below(node)["properties"][part]
        _below(node)["x-kubernetes-validations"] = [rule.schema() for rule in found]
    return schema


def _below(node: Schema) -> Schema:
    return node["items"] if node.get("type") == "array" else node
