"""A certificate that follows its files."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import memory_stream_pair

from node.certificates import Certificate
from node.config.keys import ConfigError
from node.config.reload import Watched
from node.config.settings import Tls

FAST = 0.005


class Files:
    """A certificate's two files, and who trusts them."""

    def __init__(self, directory: Path) -> None:
        self.tls = Tls(certificate=str(directory / "tls.crt"), key=str(directory / "tls.key"))
        self.authority = trustme.CA()

    def issue(self, name: str, *, with_key: bool = True, expires: datetime | None = None) -> None:
        """Put a new certificate for a host in place."""
        issued = self.authority.issue_cert(name, not_after=expires)
        Path(self.tls.certificate).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        if with_key:
            issued.private_key_pem.write_to_path(self.tls.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate for one host."""
    files = Files(tmp_path)
    files.issue("one.example")
    return files


async def shows(certificate: Certificate, files: Files, name: str) -> bool:
    """Whether a handshake shows a certificate for this host."""
    trusting = ssl.create_default_context()
    files.authority.configure_trust(trusting)
    ours, theirs = memory_stream_pair()
    client = trio.SSLStream(ours, trusting, server_hostname=name)
    server = trio.SSLStream(theirs, certificate.context, server_side=True)
    shown = True

    async def shake(stream: trio.SSLStream[Any]) -> None:
        nonlocal shown
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            shown = False
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, client)
        nursery.start_soon(shake, server)
    return shown


async def test_handshakes_show_the_new_certificate_when_the_files_are_replaced(files: Files, nursery: trio.Nursery) -> None:
    """Renewing it needs no restart."""
    certificate = Certificate(files.tls)
    watched = Watched(certificate)
    assert await shows(certificate, files, "one.example")
    nursery.start_soon(watched.watch, FAST)
    files.issue("two.example")
    with trio.fail_after(10):
        while not await shows(certificate, files, "two.example"):
            await trio.sleep(FAST)
    assert not await shows(certificate, files, "one.example")


async def test_handshakes_show_the_old_certificate_while_the_key_does_not_fit(files: Files) -> None:
    """Files are replaced one after the other."""
    certificate = Certificate(files.tls)
    watched = Watched(certificate)
    files.issue("two.example", with_key=False)
    await watched.reload()
    assert await shows(certificate, files, "one.example")


async def test_certificate_says_when_it_expires_and_follows_its_files(files: Files) -> None:
    """To the second, in any time zone."""
    for moment in ("2031-02-03T04:05:06+00:00", "2033-02-03T04:05:06+02:00"):
        expires = datetime.fromisoformat(moment)
        files.issue("one.example", expires=expires)
        certificate = Certificate(files.tls)
        assert certificate.expires_at == expires.timestamp()
    watched = Watched(certificate)
    files.issue("one.example", expires=datetime(2035, 1, 1, tzinfo=UTC))
    await watched.reload()
    assert certificate.expires_at == datetime(2035, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_node_refuses_files_that_it_cannot_use(files: Files, broken: str) -> None:
    """The error names the table, and nothing of the content."""
    Path(getattr(files.tls, broken)).write_text("secret stuff")
    with pytest.raises(ConfigError, match="tls: expected readable PEM files") as caught:
        Certificate(files.tls)
    assert "secret stuff" not in str(caught.value)
