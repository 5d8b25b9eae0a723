"""The OpenAPI document against the running service. schemathesis makes the requests."""

import os
import sysconfig
from pathlib import Path

import pytest

from tests.processes import run_program
from tests.service import Service

SEED = os.environ.get("SEED", "20261123")
EXAMPLES = "8"
"""Requests of each operation in the fuzzing phase."""
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


def check_contract(service: Service, folder: Path, phases: str) -> None:
    """Run every check of schemathesis on every operation except endless streams. A failure prints the curl command."""
    (folder / "schemathesis.toml").write_text(REFUSED)
    token = service.login()["Authorization"]
    done = run_program(
        *(SCHEMATHESIS, "run", f"{service.url}/schema/openapi.json", "--checks", "all", "--no-color"),
        *("--header", f"Authorization: {token}", "--max-examples", EXAMPLES, "--seed", SEED),
        *("--suppress-health-check", "all", "--exclude-path-regex", "/events$", "--phases", phases),
        folder=folder,
        timeout=170,
    )
    print(f"seed {SEED}\n{done.stdout[-20_000:]}\n{done.stderr[-2000:]}")
    assert done.returncode == 0
    assert "internal_error" not in service.log.read_text()


def test_contract_holds(service: Service, tmp_path: Path) -> None:
    check_contract(service, tmp_path, "examples,coverage")


@pytest.mark.fuzz
def test_contract_holds_for_random_requests(service: Service, tmp_path: Path) -> None:
    check_contract(service, tmp_path, "fuzzing")
