"""The retrievers in docs/client.md, with LangChain and LlamaIndex in an environment of their own.

Their dependencies cannot be installed beside those of the service.
"""

import os
import sys
import sysconfig
from pathlib import Path

import httpx2
import pytest

from tests.e2e.test_readme import ADDRESS, find_block
from tests.processes import PROJECT, run_program
from tests.service import Service

pytestmark = pytest.mark.packages
PACKAGES = ("langchain-core>=1.8,<2", "llama-index-core>=0.14.25,<0.15")
EMAIL, PASSWORD = "you@example.org", "correct horse"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the client, LangChain and LlamaIndex."""
    try:
        httpx2.head("https://pypi.org/simple/", timeout=5)
    except httpx2.TransportError:
        pytest.skip("PyPI does not answer")
    uv, folder = f"{sysconfig.get_path('scripts')}/uv", tmp_path_factory.mktemp("retrievers")
    python = folder / "bin" / "python"
    for command in (
        ("venv", "--quiet", "--clear", "--python", sys.executable, str(folder)),
        ("pip", "install", "--quiet", "--python", str(python), str(PROJECT / "client"), *PACKAGES),
    ):
        done = run_program(uv, *command, timeout=150)
        assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("heading", ["LangChain", "LlamaIndex"])
def test_retrievers_find_passages(service: Service, python: Path, heading: str) -> None:
    service.http.post("/v1/auth/register", json={"email": EMAIL, "password": PASSWORD})
    code = find_block("docs/client.md", heading, "python").replace(ADDRESS, service.url)
    upload = f"sluice.documents.upload_and_wait({str(PROJECT / 'pipeline/samples/bakery-faq.html')!r})"
    code = code.replace('password="correct horse") as sluice:\n', f'password="{PASSWORD}") as sluice:\n    {upload}\n')
    # LlamaIndex writes to its cache.
    done = run_program(python, "-c", code, environment={**os.environ, "HOME": str(python.parents[1])}, timeout=120)
    assert done.stdout.split()[0] == "bakery-faq.html", done.stderr
