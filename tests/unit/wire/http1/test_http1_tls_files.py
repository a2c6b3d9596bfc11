"""TLS files that change: broken ones, and a Secret that is swapped while it is read."""

import logging
import shutil
import ssl
from pathlib import Path

import pytest
from tests.support.certificates import Authority, Mounted

from plimsoll.wire.http1.tls import TlsContext


class Files:
    def __init__(self, folder):
        self.ca = Authority(folder, "ca")
        self.server, self.second = self.ca.server("server"), self.ca.server("second")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("tls"))


def test_broken_new_files_leave_the_old_ones_in_use(files, tmp_path, caplog):
    mounted = Mounted(tmp_path).put(files.server, files.ca)
    tls = TlsContext(mounted.settings())
    first = tls.current
    assert tls.refresh() is False
    with caplog.at_level(logging.INFO, logger="plimsoll"):
        mounted.put((b"nonsense", files.server[1]), files.ca)
        assert tls.refresh() is False
        assert not caplog.records, "whoever writes file after file has a second"
        for _ in range(3):
            assert tls.refresh() is False
        assert [record.levelname for record in caplog.records] == ["ERROR"], "said once, not each second"
        mounted.put(files.server, files.ca, key=files.second[1])
        assert [tls.refresh() for _ in range(2)] == [False, False]
        (tmp_path / "tls.key").unlink()
        assert tls.refresh() is False
        assert tls.current is first
    assert "does not belong to" in caplog.text
    assert "PRIVATE" not in caplog.text
    (tmp_path / "tls.key").symlink_to("..data/tls.key")
    mounted.put(files.second, files.ca)
    assert tls.refresh() is True
    assert tls.current is not first


@pytest.mark.parametrize("removed", [False, True], ids=["both-there", "as-kubelets-do"])
def test_a_secret_that_is_swapped_while_it_is_read_gives_one_pair(files, tmp_path, caplog, monkeypatch, removed):
    """The link is swapped after the certificate was read and before the key is; a kubelet removes the old files too."""
    mounted = Mounted(tmp_path / "mount").put(files.server, files.ca)
    tls, load, swaps = TlsContext(mounted.settings()), ssl.SSLContext.load_cert_chain, [files.server]

    def slowly(context, cert, key, password):
        (tmp_path / "cert").write_bytes(Path(cert).read_bytes())
        if swaps:
            mounted.put(swaps.pop(), files.ca)
            if removed:
                shutil.rmtree(mounted.folder / f"v{mounted.count - 1}")
        load(context, tmp_path / "cert", key, password)

    mounted.put(files.second, files.ca)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", slowly)
    assert tls.refresh() is True
    assert tls.refresh() is not removed  # where the second reading was of the last files, there is nothing new
    assert not swaps
    assert "refused" not in caplog.text
