"""What stays behind: memory, descriptors, files and processes after much work. Ratios, not absolute figures."""

import socket
import threading

import psutil


def descriptors(process):
    return process.num_fds()


def gateway_of(running):
    return next(child for child in running.children() if child.name().startswith("gateway"))


def pipelined(port, path, requests, connections=4, depth=16):
    """`requests` requests of one kind as fast as they go, pipelined; answers are only counted."""

    body = b'{"text": "what a lovely day", "n": [1, 2, 3]}'
    one = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    counted, failures = [], []

    def run(count):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            seen = 0
            while seen < count:
                some = min(depth, count - seen)
                sock.sendall(one * some)
                left, data = some, b""
                while left:
                    chunk = sock.recv(1 << 16)
                    if not chunk:
                        failures.append("closed")
                        return
                    data += chunk
                    found = data.count(b"HTTP/1.1 ")
                    if data.count(b"HTTP/1.1 200 ") != found:
                        failures.append(data[:200])
                        return
                    if found == left and data.rstrip().endswith(b"}"):
                        left = 0
                seen += some
            counted.append(seen)

    threads = [threading.Thread(target=run, args=(requests // connections,), daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failures == []
    assert sum(counted) == requests


def test_memory_stays_flat_over_many_requests(up, service):
    running = up(service(spec="  scaling: {minReplicas: 1}\n")).ready()
    (replica,) = (psutil.Process(one["pid"]) for one in running.status("mood")["instances"])
    watched = {"gateway": gateway_of(running), "replica": replica, "controller": psutil.Process(running.process.pid)}
    pipelined(running.port, "/mood", 20_000)
    before = {name: process.memory_info().rss for name, process in watched.items()}
    fds = {name: descriptors(process) for name, process in watched.items()}
    pipelined(running.port, "/mood", 100_000)
    for name, process in watched.items():
        now = process.memory_info().rss
        print(f"{name}: {before[name] / 2**20:.1f} MB after 20,000 requests, {now / 2**20:.1f} MB after 120,000")
        assert now < before[name] * 1.1 + 2 * 2**20, name
        assert descriptors(process) <= fds[name] + 4, name


def test_connections_leave_no_descriptors(up, service, until):
    running = up(service()).ready()
    (replica,) = (psutil.Process(one["pid"]) for one in running.status("mood")["instances"])
    gateway = gateway_of(running)
    running.post("/mood", 1)
    before = descriptors(gateway), descriptors(replica)
    for _ in range(40):
        clients = [running.client() for _ in range(25)]
        for client in clients[:5]:
            assert client.post("/mood", 1)[0] == 200
        for client in clients[5:10]:
            client.connection.request("POST", "/mood", b"1")  # and leaves before the answer
        for client in clients[10:15]:
            client.connection.connect()  # and says nothing
        for client in clients:
            client.close()
    until(
        lambda: (descriptors(gateway), descriptors(replica)) <= (before[0] + 12, before[1] + 12),
        message=lambda: f"{before} -> {descriptors(gateway), descriptors(replica)}",
    )


def test_many_revisions_leave_nothing_behind(up, service, echo, until):
    folder = service(spec="  scaling: {minReplicas: 2}\n")
    running = up(folder, "--no-watch").ready()
    gateway, controller = gateway_of(running), psutil.Process(running.process.pid)
    running.post("/mood", 1)

    def settled():
        told = running.status("mood")
        return told["phase"] == "Ready" and len(told["instances"]) == 2

    sizes = []
    for number in range(2, 13):
        (folder / "model.py").write_text(echo.replace("VERSION = 1", f"VERSION = {number}"))
        running.cli("apply", folder, timeout=30)
        assert running.post("/mood", 1)[2]["version"] == number
        if number in {3, 12}:
            until(settled)
            sizes.append(
                {
                    "processes": len(running.children()),
                    "gateway": descriptors(gateway),
                    "controller": descriptors(controller),
                    "sockets": len(list((running.run_dir / "r").iterdir())),
                    "revisions": len(list((running.run_dir / "revisions").iterdir())),
                }
            )
    first, last = sizes
    print(first, last)
    assert last["processes"] == first["processes"]
    assert last["sockets"] == first["sockets"] == 2
    assert last["gateway"] <= first["gateway"] + 4
    assert last["controller"] <= first["controller"] + 4
    assert last["revisions"] <= 5  # what runs, and the last few
    assert len(list((running.run_dir / "logs").iterdir())) <= 20 + 8
    zombies = [one.pid for one in running.children() if one.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []
    assert running.interrupt() == 0
    running.nothing_left()
    assert not running.run_dir.exists()
