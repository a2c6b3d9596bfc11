"""What a node does with pods: network, volumes, processes, probes, status; tests/kube/kubelet.py joins them."""
