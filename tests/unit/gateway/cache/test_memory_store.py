"""What a cache in memory takes of the machine: about `max_bytes`, whatever the answers look like. Measured, each in a
process of its own."""

import subprocess
import sys

import pytest

FILL = """
import os, random, sys
import psutil
from plimsoll.gateway.cache.memory import MemoryStore
from plimsoll.ports.cache_store import Entry

kind, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
size = {"20 B": lambda: 20, "300 B": lambda: 300, "5 kB": lambda: 5000, "400 kB": lambda: 400_000,
        "mixed": lambda: int(min(2**20, rng.paretovariate(0.8) * 100))}[kind]
store, process = MemoryStore(48 * 2**20), psutil.Process()
before, put = process.memory_info().rss, 0
while put < 3 * 48 * 2**20:  # two thirds are thrown out again
    lines = b"content-type: application/json\\r\\nplimsoll-revision: mood-%d\\r\\n" % (put % 10)
    entry = Entry(200, lines, os.urandom(size()), float(put), put + 1e9)
    store.put(os.urandom(20), entry, 0.0)
    put += entry.size
print((process.memory_info().rss - before) / store.kept_bytes, store.kept_bytes / 2**20)
"""


@pytest.mark.parametrize("kind", ["20 B", "300 B", "5 kB", "400 kB", "mixed"])
def test_the_process_grows_by_about_what_is_counted(kind):
    seed = 20261122
    done = subprocess.run([sys.executable, "-c", FILL, kind, str(seed)], capture_output=True, text=True, check=True)
    ratio, kept = map(float, done.stdout.split())
    print(f"{kind}, seed {seed}: {ratio:.3f} of {kept:.1f} MiB")
    assert 47 < kept <= 48
    assert 0.8 < ratio < 1.3
