from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
import time_machine

from api.tokens import Tokens
from pipeline.errors import NotAuthenticated, SessionEnded
from pipeline.types import Identity, Refresh

SECRET = "0123456789" * 5
tokens = Tokens(SECRET, timedelta(minutes=15))


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    good = {
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + timedelta(minutes=1),
        "jti": "1",
        "iss": "sluice",
        "aud": "sluice-api",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def test_own_tokens_are_accepted() -> None:
    identity = Identity(uuid4(), 7)
    assert tokens.verify(tokens.issue(identity)) == identity


def test_token_of_an_earlier_release_has_generation_0() -> None:
    assert tokens.verify(jwt.encode(claims(), SECRET, algorithm="HS256")).generation == 0


def test_token_expires_after_its_lifetime() -> None:
    issued = jwt.decode(tokens.issue(Identity(uuid4(), 0)), options={"verify_signature": False})
    assert issued["exp"] - issued["iat"] == 15 * 60


def test_well_formed_token_of_the_tests_is_accepted() -> None:
    tokens.verify(jwt.encode(claims(), SECRET, algorithm="HS256"))


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "jti", "iss", "aud"])
def test_every_claim_is_required(claim: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.verify(jwt.encode(claims(**{claim: None}), SECRET, algorithm="HS256"))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"sub": "not-a-uuid"},
        {"gen": "one"},
        {"gen": [1]},
        {"exp": datetime.now(UTC) - timedelta(seconds=31)},
        {"iat": datetime.now(UTC) + timedelta(hours=1)},
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.verify(jwt.encode(claims(**changes), SECRET, algorithm="HS256"))


def test_clocks_may_differ_by_30_seconds() -> None:
    late = claims(exp=datetime.now(UTC) - timedelta(seconds=20))
    tokens.verify(jwt.encode(late, SECRET, algorithm="HS256"))


def test_other_algorithms_and_secrets_are_refused() -> None:
    forged = [
        jwt.encode(claims(), SECRET * 2, algorithm="HS256"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS384"),
        jwt.encode(claims(), "", algorithm="none"),
        "rubbish",
        "",
    ]
    for token in forged:
        with pytest.raises(NotAuthenticated):
            tokens.verify(token)


def test_verified_token_ends_at_its_expiry_and_before_its_issue() -> None:
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        token = tokens.issue(Identity(uuid4(), 0))
        end = 15 * 60 + 30
        for shift in (0, end - 1, -30):
            clock.move_to(1_800_000_000 + shift)
            tokens.verify(token)
        for shift, code in ((end, "token_expired"), (-31, "invalid_token")):
            clock.move_to(1_800_000_000 + shift)
            with pytest.raises(NotAuthenticated) as refused:
                tokens.verify(token)
            assert refused.value.code == code


def test_number_of_remembered_tokens_is_limited() -> None:
    own = Tokens(SECRET, timedelta(minutes=15), capacity=2)
    issued = [own.issue(Identity(uuid4(), number)) for number in range(3)]
    for _ in range(2):
        assert [own.verify(token).generation for token in issued] == [0, 1, 2]
        assert len(own.verified) == 2


def test_refresh_token_depends_on_the_secret_and_is_no_access_token() -> None:
    refresh = Refresh(uuid4(), uuid4(), 3, int(datetime.now(UTC).timestamp()) + 60)
    token = tokens.issue_refresh(refresh)
    assert tokens.verify_refresh(token) == refresh
    with pytest.raises(NotAuthenticated):
        tokens.verify(token)
    other = Tokens(SECRET[::-1], tokens.lifetime)
    for wrong, verifier in ((token, other), (tokens.issue(Identity(uuid4(), 0)), tokens), ("", tokens)):
        with pytest.raises(SessionEnded):
            verifier.verify_refresh(wrong)
