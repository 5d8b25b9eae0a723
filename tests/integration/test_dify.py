"""Dify's external knowledge."""

from typing import Any

import pytest

from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio

UNKNOWN = "01a2084b-9065-752d-aaf7-35b94206de34"
TEXTS = {"old.txt": b"The lock is closed at 3.2 metres.", "new.txt": b"The lock is closed at 3.4 metres."}
ATTRIBUTES = {"old.txt": {"year": 2024, "kind": "rule"}, "new.txt": {"year": 2026, "kind": "draft rule"}}


@pytest.fixture
async def person(api: Api) -> Person:
    return await api.register()


@pytest.fixture
async def knowledge(api: Api, person: Person) -> str:
    """A collection with two documents. A third one is in no collection."""
    answer = await api.client.post("/v1/collections", json={"name": "rules"}, headers=person.headers)
    collection = f"/v1/collections/{answer.json()['id']}"
    for name, text in TEXTS.items():
        document = (await api.upload(person, text, name)).json()["id"]
        body = {"attributes": ATTRIBUTES[name]}
        put = await api.client.put(f"{collection}/documents/{document}", json=body, headers=person.headers)
        assert put.status_code == 200, put.text
    await api.upload(person, b"The lock is closed at 9 metres.", "other.txt")
    await api.work()
    return str(answer.json()["id"])


async def retrieve(api: Api, person: Person, knowledge: str, **change: Any) -> tuple[int, Any]:
    body = {"knowledge_id": knowledge, "query": "When is the lock closed?", "retrieval_setting": {"top_k": 5}} | change
    answer = await api.client.post("/retrieval", json=body, headers=person.headers)
    return answer.status_code, answer.json()


async def test_passages_of_a_collection(api: Api, person: Person, knowledge: str) -> None:
    status, answer = await retrieve(api, person, knowledge)
    assert status == 200, answer
    records = {record["title"]: record for record in answer["records"]}
    assert records.keys() == TEXTS.keys()
    assert records["old.txt"]["content"] == TEXTS["old.txt"].decode()
    metadata = records["old.txt"]["metadata"]
    assert metadata.keys() == {"year", "kind", "document_id", "page", "start", "end"}
    assert metadata["year"] == 2024
    status, answer = await retrieve(api, person, knowledge, retrieval_setting={"top_k": 1, "score_threshold": 0.0})
    assert len(answer["records"]) == 1


CONDITIONS = [
    ("year", "=", "2024", {"old.txt"}),
    ("year", "≥", 2024, {"old.txt", "new.txt"}),
    ("year", ">", "2024", {"new.txt"}),
    ("kind", "is", "rule", {"old.txt"}),
    ("kind", "is not", "rule", {"new.txt"}),
    ("kind", "contains", "draft", {"new.txt"}),
    ("kind", "in", "rule, law", {"old.txt"}),
    ("kind", "empty", None, set()),
    ("kind", "not empty", None, {"old.txt", "new.txt"}),
]


async def test_conditions_are_filters(api: Api, person: Person, knowledge: str) -> None:
    for name, operator, value, expected in CONDITIONS:
        condition = {"name": name, "comparison_operator": operator, "value": value}
        given = {"logical_operator": "and", "conditions": [condition]}
        status, answer = await retrieve(api, person, knowledge, metadata_condition=given)
        assert status == 200, (operator, answer)
        assert {record["title"] for record in answer["records"]} == expected, operator
    for operator, value in (
        ("start with", "a"),
        ("before", "2026"),
        ("=", "many"),
        ("=", "nan"),
        ("≤", "1e999"),
        ("<", None),
    ):
        condition = {"name": "year", "comparison_operator": operator, "value": value}
        status, answer = await retrieve(api, person, knowledge, metadata_condition={"conditions": [condition]})
        assert (status, answer["error_code"]) == (400, 400), operator


async def test_errors_as_dify_knows_them(api: Api, person: Person, knowledge: str) -> None:
    registration = await api.client.post("/retrieval", headers=person.headers)
    assert registration.status_code == 400, "the key is right"
    for headers, code in (({}, 1001), ({"Authorization": "Bearer wrong"}, 1002)):
        answer = await api.client.post("/retrieval", headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (403, code), "before the body is read"
    stranger = await api.register("berta")
    for who, knowledge_id in ((person, "rules"), (person, UNKNOWN), (stranger, knowledge)):
        status, body = await retrieve(api, who, knowledge_id)
        assert (status, body["error_code"]) == (404, 2001), knowledge_id
    status, body = await retrieve(api, person, knowledge, retrieval_setting={"top_k": 99})
    assert (status, body["error_msg"] != "") == (400, True)
