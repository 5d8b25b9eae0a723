import time

import pytest

from tests.databases import fetch
from tests.integration.conftest import QUICK_HASHER, Api, Person

pytestmark = pytest.mark.anyio


async def test_register_login_me(api: Api) -> None:
    person = await api.register_over_http("Anna")
    me = (await api.get(person, "/v1/users/me")).json()
    assert me["email"] == "anna@example.org"
    assert set(me) == {"id", "email", "created_at", "usage"}


async def test_email_is_unique_regardless_of_case(api: Api) -> None:
    await api.register_over_http("anna")
    again = {"email": "ANNA@example.org", "password": "another password"}
    response = await api.client.post("/v1/auth/register", json=again)
    assert (response.status_code, response.json()["code"]) == (409, "email_taken")


async def test_login_returns_a_bearer_token(api: Api) -> None:
    person = await api.register_over_http()
    credentials = {"email": person.email, "password": person.password}
    response = await api.client.post("/v1/auth/login", json=credentials)
    assert response.status_code == 200
    assert {name: response.json()[name] for name in ("token_type", "expires_in")} == {
        "token_type": "bearer",
        "expires_in": 900,
    }


async def test_unknown_user_and_wrong_password_look_alike(api: Api) -> None:
    await api.register_over_http()
    answers, seconds = [], []
    # Alternate, so that a busy moment of the machine slows both.
    for email in ("anna@example.org", "nobody@example.org") * 4:
        started = time.perf_counter()
        response = await api.client.post("/v1/auth/login", json={"email": email, "password": "wrong"})
        seconds.append(time.perf_counter() - started)
        body = response.json()
        body.pop("request_id")
        answers.append((response.status_code, body, response.headers["www-authenticate"]))
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)
    # For an unknown user, the service verifies a dummy hash. Otherwise the answer would come at once.
    known, unknown = min(seconds[::2]), min(seconds[1::2])
    assert unknown > known / 2


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer rubbish", "Basic YTpi", "rubbish"],
)
async def test_routes_need_a_token(api: Api, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ("/v1/users/me", "/v1/documents", "/v1/documents/health", "/v1/documents/health/live"):
        response = await api.client.get(path, headers=headers)
        assert response.status_code in (401, 404), path
        assert "sha256" not in response.text
    response = await api.client.get("/v1/users/me", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


async def test_jwt_under_another_scheme_is_refused(api: Api) -> None:
    person = await api.register_over_http()
    token = person.headers["Authorization"].removeprefix("Bearer ")
    response = await api.client.get("/v1/users/me", headers={"Authorization": f"Basic {token}"})
    assert response.status_code == 401


async def test_token_of_a_deleted_account(api: Api) -> None:
    person = await api.register_over_http()
    await fetch(api.runtime.settings.database_url.get_secret_value(), "DELETE FROM users")  # type: ignore[union-attr]  # it is set in tests
    assert (await api.get(person, "/v1/users/me")).status_code == 401
    assert (await api.upload(person, b"text")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a@b.example"},
        {"email": "a@b.example", "password": "short"},
        {"email": "no address", "password": "long enough"},
        {"email": "a@b.example\n", "password": "long\0 enough"},
        {"email": "a@b.example", "password": "long enough", "admin": True},
        {"email": "a@b.example", "password": 12345678},
        {"email": "x" * 300 + "@b.example", "password": "long enough"},
        [],
        None,
    ],
)
async def test_invalid_registration_names_the_fields(api: Api, body: object) -> None:
    response = await api.client.post("/v1/auth/register", json=body)
    problem = response.json()
    assert response.status_code == problem["status"] == 422
    assert problem["errors"]
    assert all({"field", "message"} == set(error) for error in problem["errors"])


async def test_passwords_and_tokens_stay_out_of_the_audit_log(api: Api, database_url: str) -> None:
    person = await api.register_over_http()
    await api.client.post("/v1/auth/login", json={"email": person.email, "password": "wrong"})
    await api.client.post("/v1/auth/login", json={"email": "nobody@example.org", "password": "wrong"})
    rows = await fetch(database_url, "SELECT event_type, actor_user_id, details FROM audit_logs ORDER BY id")
    assert [row["event_type"] for row in rows] == [
        "user.register",
        "user.login",
        "user.login_failed",
        "user.login_failed",
    ]
    assert [row["actor_user_id"] is None for row in rows] == [False, False, False, True]
    assert "wrong" not in str(rows)
    assert person.password not in str(rows)
    assert "Bearer" not in str(rows)


@pytest.mark.parametrize(
    "password", ["Password1", "12345678", "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", "e\u0301" * 4]
)
async def test_common_and_short_passwords_are_refused(api: Api, password: str) -> None:
    response = await api.client.post("/v1/auth/register", json={"email": "anna@example.org", "password": password})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert "password" in error["field"]


async def test_password_is_the_same_in_every_unicode_form(api: Api) -> None:
    composed, decomposed = "caf\u00e9 cr\u00e8me", "cafe\u0301 cre\u0300me"
    body = {"email": "anna@example.org", "password": decomposed}
    assert (await api.client.post("/v1/auth/register", json=body)).status_code == 201
    for form in (composed, decomposed):
        assert (await api.client.post("/v1/auth/login", json={**body, "password": form})).status_code == 200


async def test_hash_without_normalization_is_renewed(api: Api, database_url: str) -> None:
    decomposed = "cafe\u0301 cre\u0300me"
    person = await api.register()
    old = QUICK_HASHER.hash(decomposed)
    await fetch(database_url, "UPDATE users SET password_hash = $1", old)
    assert await log_in(api, person, "caf\u00e9 cr\u00e8me") == 401
    assert await log_in(api, person, decomposed) == 200
    [row] = await fetch(database_url, "SELECT password_hash, token_generation FROM users")
    assert (row["password_hash"] != old, row["token_generation"]) == (True, 0)
    assert [await log_in(api, person, form) for form in ("caf\u00e9 cr\u00e8me", decomposed)] == [200, 200]


async def log_in(api: Api, person: Person, password: str) -> int:
    response = await api.client.post("/v1/auth/login", json={"email": person.email, "password": password})
    return response.status_code
