"""Where a Service leads, for those that the API server itself talks to: webhooks and aggregated APIs."""


class Services:
    """`ports`: {(namespace, name): (host, port)} of Services that a test plays itself, whatever the API says."""

    def __init__(self, api):
        self._api = api
        self.ports = {}

    def find(self, namespace, name, port):
        """(host, port). ExternalName leads to that name, others to a ready address of their EndpointSlices. OSError
        where there is none."""
        if (namespace, name) in self.ports:
            return self.ports[namespace, name]
        found = self._api.store.get(("", "services"), namespace, name)
        if found is None:
            raise OSError(f'service "{name}" not found')
        if found.obj["spec"].get("type") == "ExternalName":
            return found.obj["spec"]["externalName"], port
        spec = next((one for one in found.obj["spec"].get("ports") or () if one["port"] == port), None)
        if spec is None:
            raise OSError(f"service {name!r} has no port {port}")
        for piece in self._api.store.list(("discovery.k8s.io", "endpointslices"), namespace):
            if piece.labels.get("kubernetes.io/service-name") != name:
                continue
            wanted = spec.get("name", "")
            ports = [one["port"] for one in piece.obj.get("ports") or () if (one.get("name") or "") == wanted]
            for endpoint in piece.obj.get("endpoints") or ():
                if ports and (endpoint.get("conditions") or {}).get("ready", True):
                    return endpoint["addresses"][0], ports[0]
        raise OSError(f"no endpoints available for service {name!r}")
