"""How long `plimsoll render` takes for many services: reading, rendering, writing YAML, each apart.

python bench/render.py [COUNT]      # 1000
"""

import sys
import time

from plimsoll.backends.kubernetes.objects import canonical, to_yaml
from plimsoll.backends.kubernetes.options import ClusterOptions, Mode
from plimsoll.backends.kubernetes.render import render_all, revision_of
from plimsoll.spec import ModelService, load_all_text

_PLATFORM = """
apiVersion: plimsoll.dev/v1alpha1
kind: Platform
metadata: {name: default}
spec:
  gateway: {parentRefs: [{name: public, namespace: gateways}], hostnameTemplate: "{name}.{namespace}.example.com"}
  nodeClasses: [{name: h100, selector: {nvidia.com/gpu.product: H100}, pricePerHour: "6.90"}]
  acceleratorClasses: [{name: h100-1g, resourceName: nvidia.com/mig-1g.10gb, nodeClass: h100}]
  monitoring: PodMonitor
"""
_SERVICE = """
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {{name: fraud-{index}, namespace: shop}}
spec:
  model: {{format: ONNX, uri: "oci://registry.example.com/fraud:{index}", digest: "sha256:{digest}"}}
  routes: [{{path: /score-{index}}}]
  budget: {{latency: {{p95: 25ms, p99: 60ms}}, errorRate: 0.05%}}
  scaling: {{minReplicas: 1, maxReplicas: 12, policy: HPA, writer: HPA}}
  resources: {{requests: {{cpu: "2", memory: 2Gi}}, limits: {{memory: 2Gi}}}}
  accelerator: {{class: h100-1g, count: 1}}
  podTemplate: {{spec: {{priorityClassName: online-gpu}}}}
"""
_APIS = frozenset({"gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1"})


def main(count: int) -> None:
    start = time.perf_counter()
    platform = load_all_text(_PLATFORM).platform
    services: list[ModelService] = []
    for index in range(count):
        services += load_all_text(_SERVICE.format(index=index, digest=f"{index:064x}")).services
    read = time.perf_counter()
    print(f"{count} services   read {read - start:.2f} s")
    for mode in Mode:
        begin = time.perf_counter()
        rendered = render_all(services, platform, ClusterOptions(mode=mode, apis=_APIS))
        made = time.perf_counter()
        size = len(to_yaml(rendered.objects))
        written = time.perf_counter()
        print(
            f"  {mode.value:<9} render {made - begin:.2f} s   YAML {written - made:.2f} s   "
            f"{len(rendered.objects):,} objects   {size / 1e6:.1f} MB"
        )
    begin = time.perf_counter()
    for service in services:
        canonical(revision_of(service, platform, ClusterOptions()).objects)
    print(f"  one revision (operator): {(time.perf_counter() - begin) / count * 1e3:.2f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
