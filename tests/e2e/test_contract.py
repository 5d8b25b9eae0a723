"""The OpenAPI document against the running service: schemathesis tries what clients would not think of."""

import os
import subprocess
import sysconfig
from pathlib import Path

from tests.e2e.conftest import Up

SEED = os.environ.get("SEED", "20261123")
EXAMPLES = "8"
SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"


# OpenAPI can say that a body is a file, not that it is a PDF: files of other kinds are rightly refused.
UPLOADS = """
[[operations]]
include-name = "POST /v1/documents"
checks.positive_data_acceptance.expected-statuses = ["2xx", 413, 415, 422]

[[operations]]
include-name = "PUT /v1/documents/{document_id}/content"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 413, 415, 422]
"""


def test_contract_holds(data_dir: Path) -> None:
    """Every check of schemathesis, on every operation that ends by itself; a failure prints the request as curl."""
    (data_dir / "schemathesis.toml").write_text(UPLOADS)
    up = Up(data_dir, RATE_LIMIT_LOGIN="", RATE_LIMIT_UPLOAD="", RATE_LIMIT_QUERY="")
    try:
        token = up.login()["Authorization"]
        command = [
            *(str(SCHEMATHESIS), "run", f"{up.url}/schema/openapi.json", "--checks", "all", "--no-color"),
            *("--header", f"Authorization: {token}", "--max-examples", EXAMPLES, "--seed", SEED),
            *(
                "--suppress-health-check",
                "all",
                "--exclude-path-regex",
                "/events$",
                "--phases",
                "examples,coverage,fuzzing",
            ),
        ]
        done = subprocess.run(command, cwd=data_dir, capture_output=True, text=True, check=False, timeout=170)
    finally:
        up.stop()
    print(f"seed {SEED}\n{done.stdout[-20_000:]}\n{done.stderr[-2000:]}")
    assert done.returncode == 0
    assert "internal_error" not in (data_dir / "log.jsonl").read_text()
