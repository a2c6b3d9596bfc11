"""A model into a folder: everything is made beside its place, checked, and only then renamed into it.

    TARGET/.plimsoll-partial/KEY/   parts (being fetched), tree (whole files), plan.json; KEY of the digest or URI
    TARGET/.plimsoll-source.json    which URI and digest lie here, written last

A fetch that was killed goes on with what lies in the partial folder, as long as the other side still has the same.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.archive import unpack
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.download import Blob, Progress, Stopped, download
from plimsoll.backends.kubernetes.artifacts.fetching.sources import Source, files_below, open_source
from plimsoll.backends.kubernetes.artifacts.fetching.space import check_room, is_full, no_room
from plimsoll.backends.kubernetes.artifacts.listing import (
    LISTING_FILE,
    DigestMismatch,
    Listing,
    check_files,
    listing_of,
    parse_listing,
    read_listing,
    sha256_of_file,
)
from plimsoll.backends.kubernetes.artifacts.references import Reference, parse_uri
from plimsoll.backends.kubernetes.artifacts.retrying import Retries
from plimsoll.backends.kubernetes.artifacts.web import Unreachable, Web
from plimsoll.core.errors import HostError, UserError

_log = logging.getLogger("plimsoll.fetch")
PARTIAL = ".plimsoll-partial"
SOURCE_FILE = ".plimsoll-source.json"
_AT_ONCE = 4  # one stream of a bucket gives some 100 MB/s; more than this fills a node's network
_UNPACK_FACTOR = 200  # a compressed archive that grows more than this is a bomb
_UNPACK_LEAST = 1 << 30


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How to fetch. `tries`: in a row without a byte of progress."""

    web: Web
    credentials: Credentials
    sleep: Callable[[float], None] = time.sleep
    tries: int = 6


@dataclass(frozen=True, slots=True)
class Fetched:
    """`digest`: of what lies there, as `spec.model.digest` wants it. `bytes_fetched`: over the network, this time."""

    digest: str
    listing: Listing
    bytes_fetched: int = 0


def fetch_model(uri: str, digest: str, target: Path, fetcher: Fetcher) -> Fetched:
    """`digest`: `sha256:…`, or "" to take what there is. When it returns, the model lies in `target`, checked and on
    disk. Raises UserError, Refused, Unreachable, NoRoom, DigestMismatch, UnsafeArchive."""
    reference = parse_uri(uri)
    try:
        target.mkdir(parents=True, exist_ok=True)
        there = already(target, uri, digest)
        if there is not None:
            _log.info("the model is there already", extra={"uri": uri, "digest": there.digest})
            return there
        return _fetched(reference, digest, target, fetcher)
    except OSError as error:
        if is_full(error):
            raise no_room(target, 1) from error
        raise HostError(f"{error.filename or target}: {error.strerror or error}") from error


def already(target: Path, uri: str, digest: str) -> Fetched | None:
    """What an earlier run left, if it is this model and every byte of it still right. Without a digest nothing is."""
    try:
        said = json.loads((target / SOURCE_FILE).read_text(encoding="utf-8"))
        listing = read_listing(target)
        if not digest or listing is None or said != _said(uri, digest, listing):
            return None
        check_files(target, listing)
        return Fetched(digest, listing)
    except (OSError, ValueError, UserError, DigestMismatch):
        return None


def _said(uri: str, digest: str, listing: Listing) -> dict[str, str]:
    # Of an artifact the digest says what it is; by which name it came makes no difference.
    return {"digest": digest, "listing": listing.digest} if digest else {"uri": uri, "listing": listing.digest}


def _fetched(reference: Reference, digest: str, target: Path, fetcher: Fetcher) -> Fetched:
    source = _asked(reference, digest, fetcher)
    if source.digest and digest and source.digest != digest:
        raise DigestMismatch(f"{reference.uri} has digest {source.digest}, expected {digest}")
    key = hashlib.sha256((digest or reference.uri).encode()).hexdigest()[:16]
    staging = target / PARTIAL / key
    _only(staging)
    _keep_plan(staging, source)
    progress = Progress(reference.uri, source.total)
    _check_space(staging, source)
    progress.tell("fetching")
    _all_blobs(source, staging, progress, fetcher)
    tree = staging / "tree"
    listing = _checked(source, tree, reference, digest)
    found = digest or _digest_of(source, listing)
    _publish(tree, listing, target, json.dumps(_said(reference.uri, found, listing)))
    shutil.rmtree(target / PARTIAL, ignore_errors=True)
    progress.tell("fetched")
    return Fetched(found, listing, progress.fetched)


def _asked(reference: Reference, digest: str, fetcher: Fetcher) -> Source:
    retries = Retries(fetcher.tries)
    while True:
        try:
            return open_source(reference, digest, fetcher.credentials, fetcher.web)
        except Unreachable as error:
            wait_s = retries.after_failure(error.retry_after_s)
            if wait_s is None:
                raise
            _log.warning("asked again after a pause", extra={"why": str(error), "wait_s": wait_s})
            fetcher.sleep(wait_s)


def _only(staging: Path) -> None:
    """What other models left half done is in the way of this one's room."""
    staging.mkdir(parents=True, exist_ok=True)
    for other in staging.parent.iterdir():
        if other != staging:
            shutil.rmtree(other, ignore_errors=True)


def _keep_plan(staging: Path, source: Source) -> None:
    """Parts of an earlier run count only where the other side has the same now."""
    plan = json.dumps([[blob.path, blob.size, blob.sha256, blob.version] for blob in source.blobs])
    file = staging / "plan.json"
    if not file.exists() or file.read_text(encoding="utf-8") != plan:
        shutil.rmtree(staging)
        staging.mkdir()
        file.write_text(plan, encoding="utf-8")
    (staging / "parts").mkdir(exist_ok=True)
    (staging / "tree").mkdir(exist_ok=True)


def _part(staging: Path, number: int) -> Path:
    return staging / "parts" / f"{number:05d}"


def _check_space(staging: Path, source: Source) -> None:
    need = largest = 0
    for number, blob in enumerate(source.blobs):
        part = _part(staging, number)
        if blob.size is None or part.with_suffix(".done").exists():
            continue
        need += blob.size - (part.stat().st_size if part.exists() else 0)
        largest = max(largest, blob.size if blob.unpack else 0)
    check_room(staging, need + largest)  # an archive and what came out of it lie side by side for a moment


def _all_blobs(source: Source, staging: Path, progress: Progress, fetcher: Fetcher) -> None:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
        running = [
            pool.submit(_one_blob, blob, _part(staging, number), staging / "tree", progress, fetcher)
            for number, blob in enumerate(source.blobs)
        ]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        except BaseException:
            progress.stopped.set()
            raise
        failed = [one.exception() for one in running if one.done() and not one.cancelled() and one.exception()]
        if failed:
            progress.stopped.set()
            for one in running:
                one.cancel()
    for error in failed:
        if error is not None and not isinstance(error, Stopped):
            raise error


def _one_blob(blob: Blob, part: Path, tree: Path, progress: Progress, fetcher: Fetcher) -> None:
    """Into `tree`. The `.done` beside the part is written when all of it is there."""
    done = part.with_suffix(".done")
    if done.exists():
        progress.had(blob.size or 0)
        return
    download(blob, part, progress, sleep=fetcher.sleep, tries=fetcher.tries)
    if blob.unpack:
        _unpacked(part, tree)
    else:
        _move(part, tree / blob.path)
    done.touch()
    part.unlink(missing_ok=True)


def _unpacked(part: Path, tree: Path) -> None:
    aside = part.with_suffix(".open")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    size = part.stat().st_size
    try:
        for path in unpack(part, aside, max_bytes=max(_UNPACK_FACTOR * size, _UNPACK_LEAST)):
            _move(aside / path, tree / path)
    except OSError as error:
        if is_full(error):
            raise no_room(part.parent, size) from error
        raise
    shutil.rmtree(aside)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def _checked(source: Source, tree: Path, reference: Reference, digest: str) -> Listing:
    """The listing of what lies in `tree`, which is what was asked for."""
    listing = source.listing
    if listing is None and (tree / LISTING_FILE).is_file():
        # A packed folder that somebody copied to a volume or a bucket; only if that is what was pinned
        own = parse_listing((tree / LISTING_FILE).read_text(encoding="utf-8"))
        listing = own if own.digest == digest else None
    if listing is not None:
        check_files(tree, listing)
        extra = set(files_below(tree)) - {file.path for file in listing.files} - {LISTING_FILE}
        if extra:
            raise DigestMismatch(f"{reference.uri} holds {sorted(extra)[0]!r}, which is not in its listing")
        return listing
    single = source.single and len(source.blobs) == 1 and not source.blobs[0].unpack
    found = listing_of(tree, files_below(tree), source.blobs[0].path if single else "")
    if digest and not source.single and not source.digest and found.digest != digest:
        raise DigestMismatch(f"{reference.uri} holds files with the digest {found.digest}, expected {digest}")
    return found


def _digest_of(source: Source, listing: Listing) -> str:
    """What to pin, where nothing was pinned. Of an archive that is taken apart only its own bytes could be, and they
    are gone; a single file's digest is the file's."""
    if source.digest:
        return source.digest
    if source.single and not source.blobs[0].unpack:
        return f"sha256:{listing.files[0].sha256}"
    return "" if source.single else listing.digest


def _publish(tree: Path, listing: Listing, target: Path, said: str) -> None:
    """Renames into place: first the files, then the listing, then the word that all is there."""
    (target / SOURCE_FILE).unlink(missing_ok=True)
    (tree / LISTING_FILE).write_text(listing.to_json(), encoding="utf-8")
    for file in tree.rglob("*"):
        _sync(file)
    keep = {PARTIAL, SOURCE_FILE}
    for old in target.iterdir():
        if old.name not in keep and old.name != "lost+found":
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for new in sorted(tree.iterdir(), key=lambda file: file.name == LISTING_FILE):
        os.replace(new, target / new.name)
    written = target / f"{SOURCE_FILE}.new"
    written.write_text(said, encoding="utf-8")
    _sync(written)
    os.replace(written, target / SOURCE_FILE)
    _sync(target)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def check_model(place: Path, digest: str) -> Listing:
    """That a file or folder which is there already (a mounted volume) has the digest. Raises DigestMismatch,
    HostError."""
    try:
        if place.is_file():
            sha256, _ = sha256_of_file(place)
            found, listing = f"sha256:{sha256}", listing_of(place.parent, [place.name], place.name)
        elif place.is_dir():
            own = read_listing(place)
            listing = own if own is not None and own.digest == digest else listing_of(place, files_below(place))
            if own is listing:
                check_files(place, listing)
            found = listing.digest
        else:
            raise HostError(f"{place}: no such file or folder")
    except OSError as error:
        raise HostError(f"{error.filename or place}: {error.strerror or error}") from error
    if found != digest:
        raise DigestMismatch(f"{place} has digest {found}, expected {digest}")
    return listing
