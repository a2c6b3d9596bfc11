"""A Redis and a Memcached of a test's own, on a free loopback port: to be used, stopped, killed and started again.

with RedisServer() as server:
    server.url, server.kill(), server.start(), server.freeze(), server.thaw()
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from tests.support.ports import free_port


class _Server:
    program = ""

    def __init__(self):
        if shutil.which(self.program) is None:
            pytest.skip(f"no {self.program} here: scripts/install-servers.sh installs it")
        self.port = free_port()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Returns when it takes connections. On the same port each time."""
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, f"{self.program} ended at once"
            assert time.monotonic() < give_up, f"{self.program} takes no connections"
            time.sleep(0.005)

    def kill(self):
        if self.process is not None:
            self.process.kill()  # also of a frozen one
            self.process.wait()
            self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class RedisServer(_Server):
    program = "redis-server"

    def __init__(self, password=""):
        super().__init__()
        self.password = password
        self.folder = tempfile.mkdtemp()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self):
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        return [*command, "--requirepass", self.password] if self.password else command


class MemcachedServer(_Server):
    program = "memcached"

    def __init__(self):
        super().__init__()
        self.url = f"memcached://127.0.0.1:{self.port}"

    def command(self):
        # root has to name a user that it becomes; nobody else may
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return [self.program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64", *user]
