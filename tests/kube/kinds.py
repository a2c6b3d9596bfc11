"""Which kinds the server knows: the built-in ones, and those that custom resource definitions add at run time."""

from dataclasses import dataclass, field

# group/version | plural | Kind | Namespaced or Cluster | subresources | short names
TABLE = """
v1 | namespaces | Namespace | C | status,finalize | ns
v1 | nodes | Node | C | status | no
v1 | persistentvolumes | PersistentVolume | C | status | pv
v1 | pods | Pod | N | status,log,eviction,ephemeralcontainers,binding,resize | po
v1 | services | Service | N | status | svc
v1 | endpoints | Endpoints | N | | ep
v1 | configmaps | ConfigMap | N | | cm
v1 | secrets | Secret | N | |
v1 | serviceaccounts | ServiceAccount | N | token | sa
v1 | events | Event | N | | ev
v1 | persistentvolumeclaims | PersistentVolumeClaim | N | status | pvc
v1 | resourcequotas | ResourceQuota | N | status | quota
v1 | limitranges | LimitRange | N | | limits
v1 | replicationcontrollers | ReplicationController | N | status,scale | rc
v1 | podtemplates | PodTemplate | N | |
apps/v1 | deployments | Deployment | N | status,scale | deploy
apps/v1 | statefulsets | StatefulSet | N | status,scale | sts
apps/v1 | daemonsets | DaemonSet | N | status | ds
apps/v1 | replicasets | ReplicaSet | N | status,scale | rs
apps/v1 | controllerrevisions | ControllerRevision | N | |
batch/v1 | jobs | Job | N | status |
batch/v1 | cronjobs | CronJob | N | status | cj
autoscaling/v2 | horizontalpodautoscalers | HorizontalPodAutoscaler | N | status | hpa
policy/v1 | poddisruptionbudgets | PodDisruptionBudget | N | status | pdb
networking.k8s.io/v1 | networkpolicies | NetworkPolicy | N | | netpol
networking.k8s.io/v1 | ingresses | Ingress | N | status | ing
networking.k8s.io/v1 | ingressclasses | IngressClass | C | |
discovery.k8s.io/v1 | endpointslices | EndpointSlice | N | |
coordination.k8s.io/v1 | leases | Lease | N | |
events.k8s.io/v1 | events | Event | N | | ev
scheduling.k8s.io/v1 | priorityclasses | PriorityClass | C | | pc
storage.k8s.io/v1 | storageclasses | StorageClass | C | | sc
resource.k8s.io/v1 | resourceclaimtemplates | ResourceClaimTemplate | N | |
resource.k8s.io/v1 | resourceclaims | ResourceClaim | N | status |
resource.k8s.io/v1 | deviceclasses | DeviceClass | C | |
resource.k8s.io/v1 | resourceslices | ResourceSlice | C | |
rbac.authorization.k8s.io/v1 | clusterroles | ClusterRole | C | |
rbac.authorization.k8s.io/v1 | clusterrolebindings | ClusterRoleBinding | C | |
rbac.authorization.k8s.io/v1 | roles | Role | N | |
rbac.authorization.k8s.io/v1 | rolebindings | RoleBinding | N | |
apiextensions.k8s.io/v1 | customresourcedefinitions | CustomResourceDefinition | C | status | crd,crds
apiregistration.k8s.io/v1 | apiservices | APIService | C | status |
admissionregistration.k8s.io/v1 | validatingwebhookconfigurations | ValidatingWebhookConfiguration | C | |
admissionregistration.k8s.io/v1 | mutatingwebhookconfigurations | MutatingWebhookConfiguration | C | |
admissionregistration.k8s.io/v1 | validatingadmissionpolicies | ValidatingAdmissionPolicy | C | status |
admissionregistration.k8s.io/v1 | validatingadmissionpolicybindings | ValidatingAdmissionPolicyBinding | C | |
authentication.k8s.io/v1 | tokenreviews | TokenReview | C | |
authentication.k8s.io/v1 | selfsubjectreviews | SelfSubjectReview | C | |
authorization.k8s.io/v1 | subjectaccessreviews | SubjectAccessReview | C | |
authorization.k8s.io/v1 | selfsubjectaccessreviews | SelfSubjectAccessReview | C | |
authorization.k8s.io/v1 | selfsubjectrulesreviews | SelfSubjectRulesReview | C | |
authorization.k8s.io/v1 | localsubjectaccessreviews | LocalSubjectAccessReview | N | |
"""

# Answered, never stored.
REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True, eq=False)
class Kind:
    """A served kind. `crd`: the version's entry of a CustomResourceDefinition, None for built-in kinds."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    subresources: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    crd: dict | None = None
    categories: tuple[str, ...] = ()
    singular: str = field(default="")

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def store(self):
        """Under what objects are kept: one place for all versions of a kind."""
        return self.group, self.plural

    @property
    def qualified(self):
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def review(self):
        return self.group in REVIEWS


def built_in():
    found = []
    for line in TABLE.strip().splitlines():
        api, plural, kind, scope, subresources, short = (part.strip() for part in line.split("|"))
        group, _, version = api.rpartition("/")
        names = [tuple(filter(None, part.split(","))) for part in (subresources, short)]
        found.append(Kind(group, version, plural, kind, scope == "N", *names, singular=kind.lower()))
    return found


def of_crd(crd):
    """The kinds of a definition's served versions."""
    spec = crd["spec"]
    names = spec["names"]
    found = []
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        subresources = tuple(name for name in ("status", "scale") if name in version.get("subresources", {}))
        found.append(
            Kind(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                spec["scope"] == "Namespaced",
                subresources,
                tuple(names.get("shortNames", ())),
                version,
                tuple(names.get("categories", ())),
                names.get("singular") or names["kind"].lower(),
            )
        )
    return found


class Registry:
    """All kinds by (group, version, plural); the first version of a group is the preferred one."""

    def __init__(self):
        self.kinds = {(kind.group, kind.version, kind.plural): kind for kind in built_in()}

    def find(self, group, version, plural):
        return self.kinds.get((group, version, plural))

    def by_kind(self, api_version, kind):
        group, _, version = api_version.rpartition("/")
        for one in self.kinds.values():
            if one.kind == kind and one.group == group and one.version == version:
                return one
        return None

    def any_version(self, group, plural):
        return next((one for one in self.kinds.values() if (one.group, one.plural) == (group, plural)), None)

    def add_crd(self, crd):
        self.drop_crd(crd)
        for kind in of_crd(crd):
            self.kinds[kind.group, kind.version, kind.plural] = kind

    def drop_crd(self, crd):
        place = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        for key in [key for key, kind in self.kinds.items() if kind.store == place]:
            del self.kinds[key]

    def groups(self):
        """{group: [versions]}, without the core group."""
        found = {}
        for group, version, _ in self.kinds:
            if group and version not in found.setdefault(group, []):
                found[group].append(version)
        return found
