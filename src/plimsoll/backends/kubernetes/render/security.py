"""What the `restricted` Pod Security level asks of a pod and its containers, and a read-only root beside."""

from plimsoll.backends.kubernetes.objects import Obj

USER = 65532  # the image's user; a number, so that the kubelet can see it isn't root


def pod_security() -> Obj:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",  # a model cache has many files; a changed owner on each costs minutes
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Obj:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
