"""A model of known bytes, and a fetcher whose pauses are noted instead of slept."""

import hashlib
import itertools

from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.web import Web

DATA = bytes(itertools.islice(itertools.cycle(range(251)), 300_000))
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


class Naps(list):
    def __call__(self, seconds):
        self.append(seconds)


def fetcher(naps=None, silent_s=5.0, tries=6, **values):
    return Fetcher(Web(silent_s=silent_s), Credentials(values), sleep=Naps() if naps is None else naps, tries=tries)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
