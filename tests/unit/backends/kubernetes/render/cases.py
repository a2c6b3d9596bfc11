"""Services and platforms that together use every key a cluster honours: what `golden/` shows rendered."""

from dataclasses import dataclass

from plimsoll.backends.kubernetes.options import ClusterOptions, Mode
from plimsoll.backends.kubernetes.render import Rendered, render_all
from plimsoll.spec import load_all_text

APIS = frozenset({"gateway.networking.k8s.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1"})
_DIGEST = "sha256:4b1d6f0c6a5a9a2f8b8f3a7c1b0e2d3c4f5a69788796a5b4c3d2e1f00f1e2d3c"
_HEAD = "apiVersion: plimsoll.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Case:
    text: str
    mode: Mode = Mode.OPERATOR
    minor: int = 36
    apis: frozenset[str] = APIS

    @property
    def options(self) -> ClusterOptions:
        return ClusterOptions(image="plimsoll:1", minor=self.minor, apis=self.apis, mode=self.mode)

    def rendered(self, text: str = "") -> Rendered:
        documents = load_all_text(text or self.text, file="service.yaml")
        return render_all(documents.services, documents.platform, self.options)


PLAIN = Case(
    f"""
{_HEAD}
kind: ModelService
metadata: {{name: mood, namespace: shop, labels: {{tier: online}}}}
spec:
  model: {{format: Python, uri: "configmap://mood-model-0123456789", digest: "{_DIGEST}", className: Mood}}
  runtime: {{requirements: [vaderSentiment==3.3.2]}}
  routes: [{{path: /analyze}}]
  budget: {{latency: {{p50: 20ms, p99: 100ms}}, errorRate: 0.1%}}
  timeout: 30s
  scaling:
    minReplicas: 2
    maxReplicas: 8
    policy: HPA
    writer: HPA
    hpa: {{metric: CPU, target: 60%, memoryTarget: 75%}}
    scaleDown: {{stabilizationWindow: 2m}}
  resources: {{requests: {{cpu: "2", memory: 512Mi}}, limits: {{memory: 1Gi}}}}
""",
    mode=Mode.PLAIN,
    minor=33,
)

# A Gateway, dynamic resource allocation, KEDA, a volume as cache.
DRA = Case(
    f"""
{_HEAD}
kind: Platform
metadata: {{name: default}}
spec:
  gateway:
    parentRefs: [{{name: public, namespace: gateways, sectionName: https}}]
    hostnameTemplate: "{{name}}.{{namespace}}.infer.example.com"
    replicaTls: Required
  nodeClasses: [{{name: h100, selector: {{nvidia.com/gpu.product: NVIDIA-H100-80GB}}, pricePerHour: "6.90"}}]
  acceleratorClasses: [{{name: h100, deviceClassName: gpu.nvidia.com, memory: 80Gi, nodeClass: h100}}]
  disruption: {{noCapacity: [PreemptLower, Wait, Fallback]}}
  modelCache: {{type: PVC, size: 100Gi, storageClassName: shared}}
  monitoring: PodMonitor
---
{_HEAD}
kind: ModelService
metadata: {{name: fraud, namespace: shop}}
spec:
  model:
    format: ONNX
    uri: "oci://registry.example.com:5000/fraud:7"
    digest: "{_DIGEST}"
    secretRef: {{name: registry}}
  routes: [{{path: /score, host: api.example.com}}]
  budget: {{latency: {{p95: 25ms, p99: 60ms}}}}
  scaling: {{minReplicas: 0, maxReplicas: 12, writer: KEDA, scaleToZeroAfter: 5m, priority: 10}}
  resources: {{requests: {{cpu: "2", memory: 2Gi}}, limits: {{memory: 2Gi}}}}
  accelerator: {{class: h100, count: 2}}
"""
)

# A device plugin's slices, an Ingress with cert-manager, a node's folder as cache, workload identity, podTemplate.
MIG = Case(
    f"""
{_HEAD}
kind: Platform
metadata: {{name: default}}
spec:
  gateway:
    hostnameTemplate: "{{name}}-{{namespace}}.example.com"
    ingressClassName: nginx
    tls: {{issuerRef: {{name: internal, kind: Issuer}}}}
  nodeClasses:
  - {{name: h100, selector: {{nvidia.com/gpu.product: NVIDIA-H100-80GB}}, pricePerHour: "6.90"}}
  acceleratorClasses:
  - name: h100-1g
    resourceName: nvidia.com/mig-1g.10gb
    memory: 10Gi
    nodeClass: h100
    share: 1/7
    nodeSelector: {{nvidia.com/mig.strategy: mixed}}
    tolerations:
    - {{key: dedicated, operator: Equal, value: models, effect: NoExecute}}
    - {{key: spot, operator: Exists}}
    - {{key: crowded, operator: Exists, effect: PreferNoSchedule}}
    - {{key: batch, operator: Exists, effect: NoSchedule}}
  modelCache: {{type: HostPath, path: /var/lib/models}}
---
{_HEAD}
kind: ModelService
metadata: {{name: ranking, namespace: shop}}
spec:
  model: {{format: ONNX, uri: "s3://models/ranking/", digest: "{_DIGEST}"}}
  runtime:
    image: registry.example.com/ranking:3
    env:
    - {{name: LOG_LEVEL, value: debug}}
    - {{name: FEATURE_TOKEN, secretRef: {{name: features, key: token}}}}
  timeout: 90s
  scaling:
    maxReplicas: 4
    policy: HPA
    writer: HPA
    hpa: {{metric: RequestsPerSecond, target: "400"}}
  replicas: 3
  accelerator: {{class: h100-1g, count: 1}}
  podTemplate:
    metadata: {{labels: {{team: search}}, annotations: {{sidecar.example.com/inject: "false"}}}}
    spec:
      serviceAccountName: ranking-cloud
      priorityClassName: online-gpu
      tolerations: [{{key: maintenance, operator: Exists}}]
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/arch, operator: In, values: [amd64]}}]}}]
      containers:
      - name: model
        env: [{{name: LOG_LEVEL, value: info}}]
        volumeMounts: [{{name: shm, mountPath: /dev/shm}}]
      volumes:
      - {{name: shm, emptyDir: {{medium: Memory, sizeLimit: 1Gi}}}}
      - {{name: tmp, emptyDir: {{sizeLimit: 2Gi}}}}
"""
)

# A StatefulSet with volumes of its own, a claim with the model, a given certificate.
STATEFUL = Case(
    f"""
{_HEAD}
kind: Platform
metadata: {{name: default}}
spec:
  gateway:
    hostnameTemplate: "{{name}}.example.com"
    tls: {{secretName: wildcard}}
  monitoring: ServiceMonitor
---
{_HEAD}
kind: ModelService
metadata: {{name: search, namespace: shop}}
spec:
  model: {{format: SKLearn, uri: "pvc://models/search/model.skops", digest: "{_DIGEST}"}}
  routes: [{{path: /find, host: find.example.com}}]
  scaling: {{minReplicas: 2, maxReplicas: 2, policy: Fixed}}
  workload: StatefulSet
  volumeClaims: [{{name: index, size: 10Gi, mountPath: /index, storageClassName: fast}}]
""",
    mode=Mode.PLAIN,
)

# KEDA's own clock, no policies, a Gateway without names.
CLOCK = Case(
    f"""
{_HEAD}
kind: Platform
metadata: {{name: default}}
spec:
  gateway: {{parentRefs: [{{name: public}}]}}
  networkPolicy: Disabled
---
{_HEAD}
kind: ModelService
metadata: {{name: reports, namespace: shop}}
spec:
  model: {{path: "reports.model:Reports"}}
  runtime: {{image: registry.example.com/reports:1}}
  routes: [{{path: /reports}}]
  scaling:
    minReplicas: 1
    maxReplicas: 8
    policy: Schedule
    writer: KEDA
    schedule:
      timeZone: Europe/Berlin
      entries:
      - {{cron: "0 20 * * 1-5", replicas: 1}}
      - {{cron: "0 8 * * 1-5", replicas: 4}}
      - {{cron: "30 11 * * 1-5", replicas: 8}}
""",
    mode=Mode.PLAIN,
)

# An older cluster: requests of claims are flat, an HPA has tolerances; an Ingress, with an issuer of the cluster.
OLDER = Case(
    f"""
{_HEAD}
kind: Platform
metadata: {{name: default}}
spec:
  gateway:
    hostnameTemplate: "{{name}}.example.com"
    tls: {{secretName: vision-tls, issuerRef: {{name: acme, kind: ClusterIssuer}}}}
  acceleratorClasses: [{{name: any, deviceClassName: gpu.example.com}}]
---
{_HEAD}
kind: ModelService
metadata: {{name: vision, namespace: shop}}
spec:
  model: {{format: ONNX, uri: "http://models.example.com:8081/vision.onnx", digest: "{_DIGEST}"}}
  scaling: {{minReplicas: 1, maxReplicas: 3, writer: HPA}}
  accelerator: {{class: any}}
  workload: Deployment
""",
    minor=33,
    apis=frozenset(),
)

CASES = {
    "plain": PLAIN,
    "dra": DRA,
    "mig": MIG,
    "stateful": STATEFUL,
    "clock": CLOCK,
    "older": OLDER,
}
