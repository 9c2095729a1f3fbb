"""Which addresses a webhook may go to."""

import pytest

from node.webhooks.addresses import is_public

PUBLIC = (
    "93.184.216.34",
    "8.8.8.8",
    "2606:2800:220:1:248:1893:25c8:1946",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
)
PRIVATE = (
    *("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::1"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fec0::1"),
    *("100.64.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"),
    *("0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1", "224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"),  # noqa: S104
    *("2001:0:4136:e378:8000:63bf:f5ff:fffe", "64:ff9b:1::1", "100::1", "2001:2::1", "", "localhost", "1.2.3", "0x7f.1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_address_is_public_when_anybody_can_reach_it(address: str) -> None:
    """Written as IPv6 too."""
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_address_is_refused_when_it_leads_inside(address: str) -> None:
    """Whatever it is wrapped in; and what is no address is none."""
    assert not is_public(address)
