"""A platform, a tenant and two services as a team has them in one file: all of it is read, and holds together."""

from plimsoll.spec import check_together, load_all_text, not_honoured, price_per_hour

FILE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Platform
metadata: {name: default}
spec:
  currency: USD
  gateway:
    parentRefs: [{name: public, namespace: gateways, sectionName: https}]
    hostnameTemplate: "{name}.{namespace}.infer.example.com"
  nodeClasses:
  - name: cpu
    selector: {node.kubernetes.io/instance-type: c7i.4xlarge}
    pricePerHour: "0.71"
    provisioningTime: 3m
  - name: h100
    selector: {nvidia.com/gpu.product: NVIDIA-H100-80GB}
    pricePerHour: "6.90"
    idleWatts: 70
    maxWatts: 700
    provisioningTime: 4m
    capacity: {accelerators: 1}
  acceleratorClasses:
  - {name: h100-1g, resourceName: nvidia.com/mig-1g.10gb, memory: 10Gi, nodeClass: h100, share: "1/7"}
  - {name: h100, deviceClassName: gpu.nvidia.com, memory: 80Gi, nodeClass: h100}
---
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: checkout}
spec:
  auth:
    apiKeys: [{name: ci, hashSecretRef: {namespace: plimsoll-system, name: checkout-keys, key: ci}}]
    jwt:
      issuer: https://id.example.com
      audience: plimsoll
      jwksUri: https://id.example.com/keys
      claims: {team: checkout}
  allow: [{namespaces: [shop], serviceSelector: {matchLabels: {tier: online}}}]
  quota: {requestsPerSecond: 500, concurrentRequests: 200, tokensPerMinute: 200000}
  weight: 3
  maxPriority: 10
---
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: sentiment, namespace: shop, labels: {tier: online}}
spec:
  model: {format: Python, path: ./sentiment.py, className: Sentiment}
  runtime: {requirements: [vaderSentiment==3.3.2], isolation: Thread, predictTimeout: 10s}
  routes: [{path: /analyze}]
  budget:
    window: 5m
    latency: {p50: 20ms, p95: 50ms, p99: 100ms}
    errorRate: 0.1%
    cost: {perMillionRequests: "4.00", whenExceeded: Warn}
  timeout: 200ms
  scaling: {minReplicas: 1, maxReplicas: 8}
  resources: {requests: {cpu: "1", memory: 512Mi}, limits: {memory: 512Mi}}
  access: {anonymous: true}
  cache: {ttl: 10m, maxSize: 256Mi, scope: Tenant, backend: {type: Redis, secretRef: {name: redis-url, key: url}}}
  sessionAffinity: {type: Header, name: x-user}
---
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: fraud, namespace: shop, labels: {tier: online}}
spec:
  model:
    format: ONNX
    uri: oci://registry.example.com/fraud:7
    digest: sha256:4b1d6f0c6a5a9a2f8b8f3a7c1b0e2d3c4f5a69788796a5b4c3d2e1f00f1e2d3c
  budget: {latency: {p95: 25ms, p99: 60ms}, errorRate: 0.05%, cost: {perHour: "10"}}
  scaling:
    minReplicas: 0
    maxReplicas: 12
    policy: Budget
    writer: Controller
    scaleToZeroAfter: 10m
    spares: {count: 1, state: ModelLoaded}
    hold: 30s
    scaleDown: {stabilizationWindow: 5m}
  resources: {requests: {cpu: "2", memory: 2Gi}, limits: {memory: 2Gi}}
  accelerator: {class: h100-1g, count: 1}
  batching: {maxSize: 64, linger: 0s}
  fallback:
  - {type: Service, service: {name: sentiment}}
  - {type: Static, body: '{"score": 0.5}'}
  access: {anonymous: false}
  workload: Deployment
  podTemplate: {spec: {priorityClassName: online-gpu, tolerations: [{key: nvidia.com/gpu, operator: Exists}]}}
"""


def test_a_whole_file_is_read_and_holds_together() -> None:
    found = load_all_text(FILE, file="example.yaml")
    check_together(found)
    sentiment, fraud = found.services
    assert (sentiment.is_packed, fraud.is_packed, fraud.namespace) == (False, True, "shop")
    assert price_per_hour(fraud, found.platform) == 6.90 / 7
    for one in found:
        assert not_honoured(one, "kubernetes", platform=found.platform) == []
    assert {line.partition(":")[0] for line in not_honoured(fraud, platform=found.platform)} == {
        "metadata.namespace",
        "spec.resources.requests.memory",
        "spec.accelerator",
        "spec.podTemplate",
    }
