"""The requests of webhooks: where they go, whom TLS verifies, and what limits them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.db.deliveries import Attempt, Message
from pipeline.networks import parse_networks
from pipeline.types import new_id
from pipeline.webhooks.sender import Sender
from tests.receiver import receiving

pytestmark = pytest.mark.anyio

LOCAL = parse_networks("127.0.0.1, ::1")


def make_message(url: str) -> Message:
    return Message(new_id(), new_id(), url, bytes(32), "{}", 0)


@asynccontextmanager
async def sending(**options: Any) -> AsyncIterator[Sender]:
    sender = Sender(**{"allowed": LOCAL, **options})
    try:
        yield sender
    finally:
        await sender.close()


async def send(url: str, **options: Any) -> Attempt:
    async with sending(**options) as sender:
        return await sender.send(make_message(url))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_no_connection_is_made_to_an_address_that_is_not_allowed(host: str) -> None:
    async with receiving() as receiver:
        attempt = await send(f"http://{host}:{receiver.port}/", allowed=())
        assert "not public" in str(attempt.error)
        await asyncio.sleep(0)
        assert receiver.connections == 0


async def test_name_is_resolved_once_and_kept_in_the_request() -> None:
    async with receiving() as receiver:
        assert await send(f"http://localhost:{receiver.port}/a?b=c") == Attempt(200, None)
        [(headers, _)] = receiver.requests
        assert headers["host"] == f"localhost:{receiver.port}"


async def test_urls_may_have_letters_that_are_not_ascii() -> None:
    async with receiving() as receiver:
        assert await send(f"http://127.0.0.1:{receiver.port}/schlüssel?name=größe") == Attempt(200, None)
    assert "cannot be reached" in str((await send("http://schlüssel.invalid/")).error)


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (204, None), (302, "Redirects are not followed"), (410, "status 410"), (503, "status 503")],
)
async def test_only_statuses_from_200_to_299_are_a_success(status: int, error: str | None) -> None:
    async def answer(_event: dict[str, Any]) -> int:
        return status

    async with receiving(answer=answer) as receiver:
        receiver.headers = f"Location: {receiver.url}\r\n"
        attempt = await send(receiver.url)
        assert attempt.response_status == status
        assert (error or "None") in str(attempt.error)
        assert len(receiver.requests) == 1


async def test_slow_receivers_are_given_up() -> None:
    async def hang(_event: dict[str, Any]) -> int:
        await asyncio.sleep(60)
        return 200

    async with receiving(answer=hang) as receiver:
        attempt = await send(receiver.url, timeout_seconds=0.2)
        assert attempt == Attempt(None, "There was no answer within 0.2 seconds.")


async def test_endless_answers_are_not_read() -> None:
    async with receiving(headers="X: y\r\nContent-Length: 999999999\r\n\r\n" + 1000 * "x") as receiver:
        assert (await send(receiver.url)).error is None
    async with receiving(headers=f"X: {200_000 * 'x'}\r\n") as receiver:
        assert (await send(receiver.url)).error == "The receiver did not answer in HTTP."


async def test_unreachable_receivers_are_a_failure() -> None:
    assert "cannot be reached" in str((await send("http://127.0.0.1:1/")).error)
    assert "cannot be reached" in str((await send("http://no-such-host.invalid/")).error)
    assert "cannot be reached" in str((await send(f"http://{'x' * 70}.example/")).error)


def make_certificate(folder: Path, name: str) -> Path:
    """Return a file with a key and a certificate for a name, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


async def test_tls_verifies_the_name_of_the_receiver(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    async with receiving(ssl_context=serving) as receiver:
        assert (await send(f"https://localhost:{receiver.port}/", ssl_context=trusting)).error is None
        for url, options in (
            (f"https://127.0.0.1:{receiver.port}/", {"ssl_context": trusting}),
            (f"https://localhost:{receiver.port}/", {}),
        ):
            attempt = await send(url, **options)
            assert attempt.error == "The certificate of the receiver is not valid for its name."
        assert len(receiver.requests) == 1
