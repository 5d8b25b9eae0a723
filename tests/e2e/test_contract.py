"""The OpenAPI document against the running service. schemathesis makes the requests."""

import os
import sysconfig
from pathlib import Path

import msgspec
import pytest

from api.openapi.__main__ import make_app
from tests.formats import describe_formats
from tests.processes import run_program
from tests.service import Headers, Service

SEED = os.environ.get("SEED", "20261123")
EXAMPLES = "8"
"""Requests of each operation in the fuzzing phase."""
DOCUMENT = "/schema/openapi.json"
SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"


# OpenAPI can say that a body is a file, but not that it is a PDF, that a password is not a common one, or, in a pattern
# that all languages understand, that a question has a letter or digit of any script. Nor can it say that a time must
# not have passed, that a collection must exist, or that a filter and a cursor are texts of a format of their own.
REFUSED = """
[[operations]]
include-name = "POST /v1/documents"
checks.positive_data_acceptance.expected-statuses = ["2xx", 409, 413, 415, 422]

[[operations]]
include-name = "PUT /v1/documents/{document_id}/content"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 413, 415, 422]

[[operations]]
include-name = "POST /v1/search"
checks.positive_data_acceptance.expected-statuses = ["2xx", 422, 429]

[[operations]]
include-name = "POST /v1/ask"
checks.positive_data_acceptance.expected-statuses = ["2xx", 422, 429]

[[operations]]
include-name = "GET /v1/documents"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 422]

[[operations]]
include-name = "POST /v1/api-keys"
checks.positive_data_acceptance.expected-statuses = ["2xx", 409, 422]

[[operations]]
include-name = "POST /v1/notes"
checks.positive_data_acceptance.expected-statuses = ["2xx", 422]

[[operations]]
include-name = "POST /v1/webhooks"
checks.positive_data_acceptance.expected-statuses = ["2xx", 409, 422]

[[operations]]
include-name = "POST /v1/auth/register"
checks.positive_data_acceptance.expected-statuses = ["2xx", 403, 409, 422, 429]
"""


# Their owners say which bodies are valid, and Sluice refuses what is not built. Dify expects 403 for a missing key. The
# package `mcp` answers in its own way.
OF_OTHERS = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 413, 415, 422]

[[operations]]
include-name = "POST /retrieval"
checks.missing_required_header.enabled = false

[[operations]]
include-name = "POST /mcp"
checks.content_type_conformance.enabled = false
checks.response_schema_conformance.enabled = false
"""


def check_contract(service: Service, headers: Headers, folder: Path, document: str, settings: str, phases: str) -> None:
    """Run the checks of schemathesis on every operation except endless streams. A failure prints the curl command."""
    (folder / "schemathesis.toml").write_text(settings)
    done = run_program(
        *(SCHEMATHESIS, "run", document, "--url", service.url, "--no-color"),
        *("--header", f"Authorization: {headers['Authorization']}", "--max-examples", EXAMPLES, "--seed", SEED),
        *("--suppress-health-check", "all", "--exclude-path-regex", "/events$", "--phases", phases),
        folder=folder,
        timeout=300,
    )
    print(f"seed {SEED}\n{done.stdout[-20_000:]}\n{done.stderr[-2000:]}")
    assert done.returncode == 0
    assert "internal_error" not in service.log.read_text()


def test_contract_holds(service: Service, tmp_path: Path) -> None:
    check_contract(service, service.login(), tmp_path, service.url + DOCUMENT, REFUSED, "examples,coverage")


@pytest.mark.fuzz
@pytest.mark.timeout(400)
def test_contract_holds_for_random_requests(service: Service, tmp_path: Path) -> None:
    check_contract(service, service.login(), tmp_path, service.url + DOCUMENT, REFUSED, "fuzzing")


@pytest.mark.fuzz
@pytest.mark.timeout(400)
def test_routes_in_formats_of_others_hold_their_contract(service: Service, tmp_path: Path) -> None:
    headers = service.login()
    file_id = service.upload(headers, "lock.txt", b"The lock is closed above 3.2 metres.").json()["id"]
    files = {"file_ids": [file_id]}
    store = service.http.post("/v1/vector_stores", json=files, headers=headers).raise_for_status().json()["id"]
    batch = service.http.post(f"/v1/vector_stores/{store}/file_batches", json=files, headers=headers)
    ids = {"file_id": file_id, "store_id": store, "batch_id": batch.raise_for_status().json()["id"], "model": "sluice"}
    document = tmp_path / "openapi.json"
    document.write_bytes(msgspec.json.encode(describe_formats(make_app(), ids)))
    check_contract(service, headers, tmp_path, str(document), OF_OTHERS, "examples,coverage")
