import pytest

from pipeline.networks import find_client, find_network, parse_networks
from pipeline.recent_logins import RecentLogins


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_network_of_an_address(address: str, network: str) -> None:
    assert find_network(address) == network


def test_latest_logins_are_remembered() -> None:
    recent = RecentLogins(capacity=2)
    for name in ("anna", "bert", "anna", "carl"):
        recent.remember(f"{name}@example.org", "192.0.2.7")
    names = [name for name in ("anna", "bert", "carl") if recent.includes(f"{name}@example.org", "192.0.2.7")]
    assert names == ["anna", "carl"]
    assert not recent.includes("anna@example.org", "192.0.2.8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("fd00::1", ["2001:DB8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
        # These proxies are not trusted, so what they say does not count.
        ("192.0.2.8", ["192.0.2.7"], "192.0.2.8"),
        ("127.0.0.1", ["192.0.2.7"], "127.0.0.1"),
        ("unknown", ["192.0.2.7"], "unknown"),
        # The header is not valid, so the last proxy counts.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7, somebody"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7, 10.0.0.2, 10.0.0.256"], "10.0.0.1"),
        ("10.0.0.1", ["x" * 6000], "10.0.0.1"),
        ("10.0.0.1", ["fe80::1%" + "x" * 6000], "fe80::1"),
    ],
)
def test_address_of_a_client(peer: str, forwarded: list[str], client: str) -> None:
    assert find_client(peer, forwarded, parse_networks("10.0.0.0/8, fd00::1")) == client
