import pytest

from pipeline.networks import find_network
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
