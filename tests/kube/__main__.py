"""`python -m tests.kube [--port N] [--no-controllers] [--kubeconfig FILE] [--nodes N]`: runs until interrupted."""

import argparse
import shutil
import signal
import threading

from tests.kube.cluster import FakeCluster


def main():
    options = argparse.ArgumentParser(prog="python -m tests.kube", description=__doc__)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--no-controllers", action="store_true")
    options.add_argument("--kubeconfig", help="where to write admin's kubeconfig")
    chosen = options.parse_args()
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with FakeCluster(port=chosen.port, controllers=not chosen.no_controllers) as cluster:
        path = cluster.kubeconfig
        if chosen.kubeconfig:
            path = shutil.copy(path, chosen.kubeconfig)
        print(f"export KUBECONFIG={path}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
