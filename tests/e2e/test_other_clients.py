"""Clients that nobody here wrote, unmodified, against the service as `make up` runs it. `tests/clients` has their scripts.

Each client has an environment of its own, because their dependencies cannot be installed beside each other. uv and npm
keep what they have downloaded. A test is skipped if a client cannot be installed, for example without a network.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Up
from tests.e2e.test_readme import ADDRESS, find_block
from tests.llm_server import run_llm_server
from tests.processes import PROJECT, run_program
from tests.reranking_server import rerank

pytestmark = [pytest.mark.packages, pytest.mark.timeout(400)]

SCRIPTS = PROJECT / "tests" / "clients"
UV = Path(sysconfig.get_path("scripts")) / "uv"
SCRIPT_SECONDS = 200
"""Longest time of a script, with the installation of its packages."""
DOCUMENTS = {
    "lock.txt": b"The lock is closed when the gauge reads more than 3.2 metres. The hinges are greased with tallow.",
    "bakery.txt": b"The sourdough was begun in 1932 by Alma Reyes. Bread is baked at four in the morning.",
}


@dataclass(frozen=True)
class PythonClient:
    """Scripts, the packages that they need, and the section of docs/client.md whose example runs after them."""

    scripts: tuple[str, ...]
    packages: tuple[str, ...]
    heading: str = ""


RUN = "import runpy, sys; [runpy.run_path(path) for path in sys.argv[1:]]"
LANGCHAIN = ("langchain-openai==1.7.4", "langchain-mcp-adapters==0.3.2")
LLAMAINDEX = (
    "llama-index-core==0.14.25",
    "llama-index-llms-openai-like==0.8.1",
    "llama-index-embeddings-openai-like==0.4.0",
)
OPENAI = ("openai_answers.py", "openai_files.py")
PYTHON_CLIENTS = {
    "openai-3": PythonClient(OPENAI, ("openai==3.57.0",)),
    "openai-2": PythonClient(OPENAI, ("openai==2.54.0",)),
    "mcp-1": PythonClient(("mcp_1.py",), ("mcp==1.30.0",)),
    "mcp-2": PythonClient(("mcp_2.py",), ("mcp==2.3.0",)),
    "langchain": PythonClient(("langchain_chat.py",), LANGCHAIN, "LangChain"),
    "llamaindex": PythonClient(("llamaindex_chat.py",), LLAMAINDEX, "LlamaIndex"),
    "haystack": PythonClient(("haystack_chat.py",), ("haystack-ai==3.4.1",)),
    "cohere": PythonClient(("cohere_rerank.py",), ("cohere==7.3.1",)),
}
OUR_DEPENDENCIES = tuple(tomllib.loads((PROJECT / "client" / "pyproject.toml").read_text())["project"]["dependencies"])
NPM_PACKAGES = ("openai@7.57.0", "@modelcontextprotocol/sdk@1.32.2")
NPM_SCRIPTS = ("openai_npm.mjs", "openai_files.mjs", "mcp_npm.mjs")


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One stack for all clients of this test process, with default limits and a reranker."""
    with run_llm_server() as reranker, tempfile.TemporaryDirectory(prefix="sluice-e2e-") as folder:
        reranker.behave = rerank
        up = Up(Path(folder), RERANKER=f"{reranker.url}/rerank")
        yield up
        up.stop()


@pytest.fixture
def environment(up: Up, tmp_path: Path) -> dict[str, str]:
    """The address of the service, and a new key of a new account with two documents."""
    headers = up.login()
    for name, content in DOCUMENTS.items():
        up.wait(headers, up.upload(headers, name, content).raise_for_status().json()["id"])
    created = up.http.post("/v1/api-keys", json={"name": "client"}, headers=headers)
    key = created.raise_for_status().json()["secret"]
    # Telemetry would need a network.
    quiet = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LLAMA_INDEX_CACHE_DIR": str(tmp_path)}
    ours = str(PROJECT / "client" / "src")
    return {**os.environ, **quiet, "PYTHONPATH": ours, "SLUICE_URL": up.url, "SLUICE_KEY": key}


@pytest.mark.parametrize("name", PYTHON_CLIENTS)
def test_python_client(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    client = PYTHON_CLIENTS[name]
    scripts, packages = [SCRIPTS / script for script in client.scripts], client.packages
    if client.heading:
        example = tmp_path / "example.py"
        example.write_text(read_example(client.heading, environment))
        scripts.append(example)
        packages += OUR_DEPENDENCIES
    options = [part for package in packages for part in ("--with", package)]
    isolated = ("run", "--quiet", "--no-project", "--isolated", "--python", sys.executable, *options)
    command = (*isolated, "python", "-c", RUN, *map(str, scripts))
    done = run_program(UV, *command, environment=environment, timeout=SCRIPT_SECONDS)
    if done.returncode != 0 and "Traceback" not in done.stderr:
        pytest.skip(f"cannot be installed: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.split()[:1] == (["bakery.txt"] if client.heading else []), done.stdout


def read_example(heading: str, environment: Mapping[str, str]) -> str:
    """Return the example of a section, with the address of the service and the key instead of a password."""
    code = find_block("docs/client.md", heading, "python").replace(ADDRESS, environment["SLUICE_URL"])
    return code.replace('email="you@example.org", password="correct horse"', f'api_key="{environment["SLUICE_KEY"]}"')


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The folder of the npm packages. It stays, because npm takes 8 s of processor time for each installation."""
    if not shutil.which("npm"):
        pytest.skip("Node is not installed")
    parent = PROJECT / ".data" / "clients"
    folder = parent / "+".join(NPM_PACKAGES).replace("/", "-")
    if not folder.exists():
        parent.mkdir(parents=True, exist_ok=True)
        new = tempfile.mkdtemp(dir=parent)
        quiet = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
        installed = run_program("npm", "install", "--prefix", new, *quiet, *NPM_PACKAGES, timeout=SCRIPT_SECONDS)
        if installed.returncode != 0:
            pytest.skip(f"cannot be installed: {installed.stderr[-500:]}")
        # Another test process may have been faster.
        with suppress(OSError):
            Path(new).rename(folder)
    return folder / "node_modules"


@pytest.mark.parametrize("script", NPM_SCRIPTS)
def test_npm_client(environment: dict[str, str], node_modules: Path, tmp_path: Path, script: str) -> None:
    # Node looks for packages beside the script.
    (tmp_path / "node_modules").symlink_to(node_modules)
    copied = shutil.copy(SCRIPTS / script, tmp_path)
    done = run_program("node", copied, environment=environment, timeout=SCRIPT_SECONDS)
    assert done.returncode == 0, done.stderr[-5000:]


def test_curl(environment: dict[str, str]) -> None:
    done = run_program("sh", SCRIPTS / "curl.sh", environment=environment, timeout=SCRIPT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
