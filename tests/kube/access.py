"""Who asks, and what they may: tokens, a small RBAC evaluator, the review kinds.

Tokens: `admin` (the kubeconfig's) may all; `USER:GROUP,GROUP` is that user; ServiceAccounts' tokens are issued by the
`token` subresource. Everybody but admin has what (Cluster)Roles and bindings give.
"""

import base64
import hmac
import json
import secrets
import time
from dataclasses import dataclass

from tests.kube.errors import ApiError
from tests.kube.kinds import REVIEWS

RBAC = "rbac.authorization.k8s.io"
AUDIENCE = "https://kubernetes.default.svc"
ADMIN_GROUP = "system:masters"


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple = ()

    @property
    def info(self):
        return {"username": self.name, "uid": self.uid, "groups": list(self.groups), "extra": dict(self.extra)}


ADMIN = User("admin", (ADMIN_GROUP, "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Question:
    """What somebody wants to do; `path` for requests for no resource."""

    verb: str
    group: str = ""
    resource: str = ""  # with the subresource: deployments/scale
    namespace: str = ""
    name: str = ""
    path: str = ""


class Access:
    def __init__(self, api):
        self._api = api
        self._key = secrets.token_bytes(32)

    # --- who ----------------------------------------------------------------------------------------------------------
    def user_of(self, authorization):
        if not authorization:
            return ANONYMOUS
        word, _, token = authorization.partition(" ")
        user = self.user_of_token(token) if word == "Bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized")
        return user

    def user_of_token(self, token, audiences=(AUDIENCE,)):
        if token == "admin":
            return ADMIN
        if token.count(".") == 2:
            claims = self._verified(token)
            if claims is None or claims["exp"] < time.time() or not set(audiences) & set(claims["aud"]):
                return None
            return self._account(claims)
        name, sign, groups = token.rpartition(":")
        if not sign:
            return None
        if name.startswith("system:serviceaccount:") and not groups:
            groups = f"system:serviceaccounts,system:serviceaccounts:{name.split(':')[2]}"
        return User(name, (*filter(None, groups.split(",")), "system:authenticated"))

    def _account(self, claims):
        namespace, name = claims["kubernetes.io"]["namespace"], claims["kubernetes.io"]["serviceaccount"]["name"]
        if self._api.store.get(("", "serviceaccounts"), namespace, name) is None:
            return None
        return service_account(namespace, name, claims["kubernetes.io"])

    def issue(self, namespace, name, spec):
        """The status of a TokenRequest."""
        lasts = spec.get("expirationSeconds") or 3600
        bound = {"namespace": namespace, "serviceaccount": {"name": name}}
        if (pod := spec.get("boundObjectRef")) and pod.get("kind") == "Pod":
            bound["pod"] = {"name": pod["name"], "uid": pod.get("uid", "")}
        ends = int(time.time()) + lasts
        claims = {"aud": spec.get("audiences") or [AUDIENCE], "exp": ends, "iat": ends - lasts, "iss": AUDIENCE,
                  "sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": bound}  # fmt: skip
        parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        signature = hmac.digest(self._key, ".".join(parts).encode(), "sha256")
        return {"token": ".".join([*parts, _encoded(signature)]),
                "expirationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))}  # fmt: skip

    def _verified(self, token):
        head, _, signature = token.rpartition(".")
        right = _encoded(hmac.digest(self._key, head.encode(), "sha256"))
        if not hmac.compare_digest(right, signature):
            return None
        return json.loads(_decoded(head.split(".")[1]))

    # --- may they -----------------------------------------------------------------------------------------------------
    def allows(self, user, asked):
        if ADMIN_GROUP in user.groups:
            return True
        if asked.path:
            return asked.verb == "get" or self._by_rules(user, asked)
        if asked.group in REVIEWS and asked.resource.startswith("self"):
            return True
        return self._by_rules(user, asked)

    def check(self, user, asked):
        if self.allows(user, asked):
            return
        kind = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        plural = asked.resource.split("/")[0]
        named = f'{kind} "{asked.name}"' if asked.name else kind
        what = f'cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {where}'
        if asked.path:
            what = f'cannot {asked.verb} path "{asked.path}"'
        raise ApiError(403, f'{named} is forbidden: User "{user.name}" {what}', name=asked.name, group=asked.group,
                       kind=plural)  # fmt: skip

    def _by_rules(self, user, asked):
        return any(_permits(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user, namespace):
        for binding in self._api.store.list((RBAC, "clusterrolebindings")):
            if _binds(binding.obj, user):
                yield from self._role(binding.obj["roleRef"], "")
        if namespace:
            for binding in self._api.store.list((RBAC, "rolebindings"), namespace):
                if _binds(binding.obj, user):
                    yield from self._role(binding.obj["roleRef"], namespace)

    def _role(self, reference, namespace):
        plural = "clusterroles" if reference["kind"] == "ClusterRole" else "roles"
        found = self._api.store.get((RBAC, plural), namespace if plural == "roles" else "", reference["name"])
        if found is None:
            return ()
        return (found.obj.get("rules") or ()) if "aggregationRule" not in found.obj else self._aggregated(found.obj)

    def _aggregated(self, role):
        from tests.kube import selectors

        wanted = role["aggregationRule"].get("clusterRoleSelectors") or ()
        for record in self._api.store.list((RBAC, "clusterroles")):
            if any(selectors.matches(selector, record.labels) for selector in wanted):
                yield from record.obj.get("rules") or ()

    # --- reviews ------------------------------------------------------------------------------------------------------
    def review(self, kind, obj, user, namespace=""):
        """The answer to a review: `obj` with its status."""
        spec = obj.get("spec") or {}
        if kind.kind == "TokenReview":
            audiences = spec.get("audiences") or [AUDIENCE]
            found = self.user_of_token(spec.get("token", ""), audiences)
            status = {"authenticated": found is not None}
            if found is None:
                status["error"] = "invalid bearer token"
            else:
                status |= {"user": found.info, "audiences": audiences}
        elif kind.kind == "SelfSubjectReview":
            status = {"userInfo": user.info}
        elif kind.kind == "SelfSubjectRulesReview":
            rules = list(self.rules(user, spec.get("namespace", "")))
            status = {"incomplete": False, "nonResourceRules": [], "resourceRules": rules}
        else:
            whose = user
            if not kind.kind.startswith("Self"):
                whose = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
            allowed = self.allows(whose, _question(spec, namespace))
            status = {"allowed": allowed, "reason": "" if allowed else "no RBAC policy matched"}
        return {"metadata": {}, **obj, "apiVersion": kind.api_version, "kind": kind.kind, "status": status}


def service_account(namespace, name, bound=None):
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    extra = ()
    if bound and "pod" in bound:
        extra = (("authentication.kubernetes.io/pod-name", [bound["pod"]["name"]]),)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, extra=extra)


def _question(spec, namespace):
    if path := (spec.get("nonResourceAttributes") or {}):
        return Question(path.get("verb", "get"), path=path.get("path", ""))
    found = spec.get("resourceAttributes") or {}
    resource = found.get("resource", "") + (f"/{found['subresource']}" if found.get("subresource") else "")
    return Question(found.get("verb", ""), found.get("group", ""), resource, found.get("namespace", namespace),
                    found.get("name", ""))  # fmt: skip


def _binds(binding, user):
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "User" and subject["name"] == user.name:
            return True
        if subject["kind"] == "Group" and subject["name"] in user.groups:
            return True
        if subject["kind"] == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            if user.name == f"system:serviceaccount:{namespace}:{subject['name']}":
                return True
    return False


def _permits(rule, asked):
    if not _any(rule.get("verbs"), asked.verb):
        return False
    if asked.path:
        return any(url in ("*", asked.path) or (url.endswith("*") and asked.path.startswith(url[:-1]))
                   for url in rule.get("nonResourceURLs") or ())  # fmt: skip
    if not _any(rule.get("apiGroups"), asked.group):
        return False
    _, _, sub = asked.resource.partition("/")
    resources = rule.get("resources") or ()
    if not (asked.resource in resources or "*" in resources or (sub and f"*/{sub}" in resources)):
        return False
    names = rule.get("resourceNames")
    return not names or asked.name in names


def _any(listed, wanted):
    return "*" in (listed or ()) or wanted in (listed or ())


def _encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def may_read_metrics():
    """What a real API server gives its own HPA controller from the beginning."""
    groups = ["external.metrics.k8s.io", "custom.metrics.k8s.io"]
    rule = {"apiGroups": groups, "resources": ["*", "*/*"], "verbs": ["get", "list"]}
    meta = {"name": "system:controller:horizontal-pod-autoscaler"}
    subject = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": meta["name"]}
    return (
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": meta, "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [subject],
        },
    )
