"""`tiny_replica` as a pod's container: its status pipe becomes the pages and the state stream of its second port.

TINY_ARGS: its args, JSON. POD_IP, POD_NAME as the kubelet gives them.
"""

import http.server
import json
import os
import queue
import sys
import threading
from types import SimpleNamespace

from tiny_replica import main

from plimsoll.backends.kubernetes.names import LIVE_PATH, METRICS_PORT, STATE_PATH


class Told:
    """What the replica said: the last event that is no load, and a queue for each listener."""

    def __init__(self):
        self.standing, self.ready, self.listeners, self.lock = b"", False, [], threading.Lock()

    def read(self, fd):
        with os.fdopen(fd, "rb") as lines:
            for line in lines:
                event = json.loads(line)
                with self.lock:
                    if event["event"] != "load":
                        self.standing, self.ready = line, event["event"] == "ready"
                    for listener in self.listeners:
                        listener.put(line)
                if event["event"] in ("failed", "unready"):
                    leave_word(event)


def leave_word(event):
    place = f"{event['file']}:{event['line']} " if "file" in event else ""
    path = os.environ.get("PLIMSOLL_TERMINATION_LOG", "/dev/termination-log")
    with open(path, "wb") as file:
        file.write(f"{place}{event['reason']}".encode())


def pages(told):
    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != STATE_PATH:
                good = self.path == LIVE_PATH or told.ready
                self.send_response(200 if good else 503)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            mine = queue.SimpleQueue()
            with told.lock:
                told.listeners.append(mine)
                if told.standing:
                    mine.put(told.standing)
            while True:
                self.wfile.write(mine.get())
                self.wfile.flush()

        def log_message(self, *_):
            pass

    return Pages


def run():
    reading, writing = os.pipe()
    told = Told()
    reader = threading.Thread(target=told.read, args=(reading,), daemon=True)
    reader.start()
    server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], METRICS_PORT), pages(told))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.reconfigure(line_buffering=True)
    args = json.loads(os.environ["TINY_ARGS"]) | {"replica": os.environ["POD_NAME"], "listen": ""}
    try:
        main(SimpleNamespace(args=args, status_fd=writing))
    finally:
        os.close(writing)
        reader.join(1)


if __name__ == "__main__":
    run()
