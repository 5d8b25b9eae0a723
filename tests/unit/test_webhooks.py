"""Parts of webhooks that need no network: allowed addresses, secrets and the times of further tries."""

import base64
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from standardwebhooks import Webhook

from pipeline.networks import parse_networks
from pipeline.webhooks import signature
from pipeline.webhooks.addresses import is_allowed
from pipeline.webhooks.deliverer import Schedule

DAY = 24 * 3600


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "168.63.129.16", "192.0.0.170", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "::1%lo", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::"),
        *("2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "::127.0.0.1", "100::1", "fec0::1"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), ())


def test_operator_allows_networks_one_by_one() -> None:
    allowed = parse_networks("10.1.0.0/16, ::1")
    asked = ["10.1.2.3", "::ffff:10.1.2.3", "::1", "10.2.0.1", "127.0.0.1", "169.254.169.254"]
    assert [is_allowed(ip_address(address), allowed) for address in asked] == [True, True, True, False, False, False]


def test_signature_is_that_of_the_public_library() -> None:
    secret = signature.make_secret()
    shown = signature.show_secret(secret)
    assert signature.parse_secret(shown) == secret
    assert len(secret) == 32
    sent = datetime(2026, 11, 28, tzinfo=UTC)
    body = '{"type":"document.ready","data":{"filename":"Übersicht.pdf"}}'
    assert signature.sign(secret, "id-1", int(sent.timestamp()), body) == Webhook(shown).sign("id-1", sent, body)


@pytest.mark.parametrize("length", [0, 23, 65])
def test_secrets_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="another form"):
        signature.parse_secret("whsec_" + base64.b64encode(bytes(length)).decode())


def test_tries_extend_over_a_day_and_end() -> None:
    schedule = Schedule()
    pauses = [schedule.find_pause(failures) for failures in range(1, schedule.attempts + 1)]
    assert pauses.pop() is None
    seconds = [pause.total_seconds() for pause in pauses if pause]
    assert len(seconds) == schedule.attempts - 1
    assert 5 <= seconds[0] <= 6
    assert DAY <= sum(seconds) <= 1.3 * DAY
    assert max(seconds) <= 4 * 3600 * 1.2
    assert len({schedule.find_pause(3) for _ in range(5)}) > 1, "receivers are not asked by all at the same moment"
