"""A misbehaving language model causes a clear error in time, and its texts are not logged."""

import gzip
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import REGISTRY

from pipeline import metrics
from pipeline.circuit_breaker import OPEN_SECONDS, CircuitBreaker
from pipeline.errors import AnswerUnavailable
from pipeline.llm import openai_chat
from pipeline.llm.client import ANSWER_SECONDS, LanguageModel
from pipeline.logs import configure_logging, get_logger
from pipeline.stages.prompt import Prompt
from tests.conftest import Logged, log_errors_only
from tests.llm_server import Behaviour, Call, LlmServer, run_llm_server, say_yes, talk_until_left, wait_to_be_heard
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

KEY = "sk-a-secret-of-the-tests"
PROMPT = Prompt("Answer.", "Is it?", passages=1)
SECONDS = 0.5

TOO_LONG = "took too long"
AWAY = "cannot be reached, or the connection was lost"
NOT_WHOLE = "gave no complete answer"


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with run_llm_server() as server:
        yield server


@pytest.fixture
async def llm(server: LlmServer) -> AsyncIterator[LanguageModel]:
    model = make_model(server.url)
    yield model
    await model.close()


def make_model(
    url: str,
    timeout_seconds: float = SECONDS,
    breaker: CircuitBreaker | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> LanguageModel:
    breaker = breaker or CircuitBreaker("llm", metrics.LLM_FAILURES)
    return LanguageModel(url, "a-model", KEY, timeout_seconds, breaker, answer_seconds=answer_seconds)


async def collect(llm: LanguageModel) -> str:
    return "".join([text async for text in llm.write(PROMPT)])


async def fail(llm: LanguageModel) -> tuple[str, AnswerUnavailable]:
    """Return the words before the failure, and the failure."""
    said = ""
    try:
        async for text in llm.write(PROMPT):
            said += text
    except AnswerUnavailable as failure:
        return said, failure
    raise AssertionError(f"it answered: {said}")


async def test_request_and_answer(llm: LanguageModel, server: LlmServer) -> None:
    assert await collect(llm) == "Yes [1]."
    [call] = server.calls
    assert (call.path, call.headers["Authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert call.body == {
        "model": "a-model",
        "stream": True,
        "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "Is it?"}],
    }


async def test_without_key_no_other_is_sent(server: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the key of another server")
    model = LanguageModel(server.url, "a-model", None, SECONDS, CircuitBreaker("llm", metrics.LLM_FAILURES))
    await collect(model)
    await model.close()
    assert server.calls[0].headers["Authorization"] == "Bearer none"


async def test_words_are_yielded_as_they_arrive(llm: LanguageModel, server: LlmServer) -> None:
    received: list[str] = []
    server.behave = wait_to_be_heard(("one", "two", "three"), received)
    async for text in llm.write(PROMPT):
        received.append(text)  # noqa: PERF401 - the server reads the list in the meantime
    assert "".join(received) == "onetwothree"


def status(code: int, text: str = "no", **headers: str) -> Behaviour:
    def answer(call: Call) -> None:
        call.begin(code, Content_Type="application/json", **headers)
        call.send(json.dumps({"error": {"message": text}}).encode())
        call.end()

    return answer


def silent(call: Call) -> None:
    call.wait_until_left()


def silent_after_header(call: Call) -> None:
    call.begin()
    call.wait_until_left()


def ping_for_ever(call: Call) -> None:
    call.begin()
    call.say("Half")
    while True:
        call.send(b": ping\n\n")
        time.sleep(SECONDS / 10)


def cut_before_word(call: Call) -> None:
    call.cut()


def cut_after_word(call: Call) -> None:
    call.begin()
    call.say("Half")
    call.cut()


def end_after_word(call: Call) -> None:
    call.begin()
    call.say("Half")
    call.end()


def send(*data: bytes) -> Behaviour:
    def answer(call: Call) -> None:
        call.begin()
        for part in data:
            call.send(part)
        call.end()

    return answer


def send_event(event: object) -> Behaviour:
    return send(f"data: {json.dumps(event)}\n\n".encode())


def zipped(call: Call) -> None:
    call.begin(Content_Encoding="gzip")
    call.send(gzip.compress(b'data: {"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]}\n\n'))
    call.end()


def no_line_ever(call: Call) -> None:
    call.begin()
    while True:
        call.send(b"data: " + b"x" * 1_000_000)


CASES: dict[str, tuple[Behaviour, str, str]] = {
    "500": (status(500, retry_after_ms="1"), "", AWAY),
    "429": (status(429, retry_after_ms="1"), "", "is busy"),
    "400": (status(400), "", "refused the question"),
    "401": (status(401), "", "refused the question"),
    "silent": (silent, "", TOO_LONG),
    "silent after its header": (silent_after_header, "", TOO_LONG),
    "silent after a word": (talk_until_left, "Half", TOO_LONG),
    "pings after a word": (ping_for_ever, "Half", TOO_LONG),
    "cut after a word": (cut_after_word, "Half", AWAY),
    "ends after a word": (end_after_word, "Half", NOT_WHOLE),
    "page": (send(b"<html>\n\n<p>Welcome!</p>\n\n"), "", NOT_WHOLE),
    "no JSON": (send(b"data: {oops\n\n"), "", NOT_WHOLE),
    "no text": (send(b"data: \xff\xfe\n\n"), "", NOT_WHOLE),
    "deep JSON": (send(b"data: " + b"[" * 100_000 + b"\n\n"), "", NOT_WHOLE),
    "list": (send_event([1, 2]), "", NOT_WHOLE),
    "other JSON": (send_event({"choices": [{"delta": "text"}]}), "", NOT_WHOLE),
    "number for text": (send_event({"choices": [{"delta": {"content": 5}, "finish_reason": None}]}), "", NOT_WHOLE),
    "error for an event": (send_event({"error": {"message": KEY}}), "", NOT_WHOLE),
    "zipped": (zipped, "", NOT_WHOLE),
    "without lines or end": (no_line_ever, "", AWAY),
}


@pytest.mark.parametrize("case", CASES)
async def test_misbehaviour_is_explained(server: LlmServer, logged: Logged, case: str) -> None:
    server.behave, said_before, detail = CASES[case]
    llm = make_model(server.url, timeout_seconds=SECONDS if detail == TOO_LONG else 20)
    started = time.monotonic()
    said, failure = await fail(llm)
    await llm.close()
    assert detail != TOO_LONG or time.monotonic() - started < 10 * SECONDS
    assert len(server.calls) == (3 if case in {"429", "500"} else 1), "all tries share one deadline"
    assert said == said_before
    assert detail in failure.message
    assert 1 <= failure.retry_after_seconds <= 120
    assert logged[0]["event"] == "llm.failed"


async def test_unreachable_server(logged: Logged) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    model = make_model(url, timeout_seconds=20)
    _, failure = await fail(model)
    await model.close()
    assert AWAY in failure.message
    assert [entry["event"] for entry in logged] == ["llm.failed", "llm.unavailable"]


async def test_server_that_hangs_up(server: LlmServer) -> None:
    server.behave = cut_before_word
    model = make_model(server.url, timeout_seconds=20)
    _, failure = await fail(model)
    await model.close()
    assert AWAY in failure.message
    assert len(server.calls) == 1 + openai_chat.RETRIES


@pytest.mark.parametrize("code", [400, 401, 429, 500])
async def test_key_and_question_stay_out_of_log_and_answer(
    llm: LanguageModel, server: LlmServer, logged: Logged, code: int
) -> None:
    server.behave = status(code, f"{KEY} may not ask: Is it?", retry_after_ms="1")
    _, failure = await fail(llm)
    for text in (repr(logged), failure.message):
        assert KEY not in text
        assert "Is it?" not in text
    assert logged[0]["status"] == code


async def test_debug_log_contains_neither_key_nor_question(
    llm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("DEBUG")
    get_logger().debug("is.shown")
    await collect(llm)
    log_errors_only()
    logged = capsys.readouterr().err
    assert "is.shown" in logged
    assert KEY not in logged
    assert "Is it?" not in logged


async def test_short_outages_are_retried(llm: LanguageModel, server: LlmServer) -> None:
    answers = iter([status(503, retry_after_ms="1"), status(429, retry_after_ms="1"), say_yes])

    def improve(call: Call) -> None:
        next(answers)(call)

    server.behave = improve
    assert await collect(llm) == "Yes [1]."
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("code", "given", "passed_on"), [(429, "60", 60), (503, "3600", 120), (429, "Fri, 01 Jan 2100 00:00:00 GMT", 6)]
)
async def test_long_outages_are_reported_to_the_caller(
    llm: LanguageModel, server: LlmServer, code: int, given: str, passed_on: int
) -> None:
    server.behave = status(code, Retry_After=given)
    _, failure = await fail(llm)
    assert failure.retry_after_seconds == passed_on
    assert len(server.calls) == 1


async def test_endless_answer_is_cut(llm: LanguageModel, server: LlmServer) -> None:
    def talk(call: Call) -> None:
        call.begin()
        while True:
            call.say("word " * 100)

    server.behave = talk
    text = await collect(llm)
    assert openai_chat.MAX_ANSWER_CHARACTERS <= len(text) < openai_chat.MAX_ANSWER_CHARACTERS + 500
    wait_until(lambda: server.calls[0].left_at, 1, "the model was stopped")


async def test_slow_answer_ends_at_its_time_limit(server: LlmServer) -> None:
    llm = make_model(server.url, answer_seconds=2 * SECONDS)

    def talk(call: Call) -> None:
        call.begin()
        while True:
            call.say("w")
            time.sleep(SECONDS / 5)

    server.behave = talk
    said, failure = await fail(llm)
    assert said.startswith("ww")
    assert TOO_LONG in failure.message


async def test_lone_surrogates_are_replaced(llm: LanguageModel, server: LlmServer) -> None:
    def answer(call: Call) -> None:
        call.begin()
        call.say("a\ud800b")
        call.finish()

    server.behave = answer
    assert (await collect(llm)).encode() == b"a?b"


async def test_unavailable_server_is_not_called_for_a_while(server: LlmServer) -> None:
    now = 1000.0
    breaker = CircuitBreaker("llm", metrics.LLM_FAILURES, clock=lambda: now)
    model = make_model(server.url, breaker=breaker)
    server.behave = cut_before_word
    trips = REGISTRY.get_sample_value("sluice_llm_failures_total") or 0
    await fail(model)
    calls = len(server.calls)
    _, failure = await fail(model)
    assert "is unavailable" in failure.message
    assert len(server.calls) == calls, "no request was sent"
    assert REGISTRY.get_sample_value("sluice_llm_failures_total") == trips + 1
    server.behave = say_yes
    now += OPEN_SECONDS + 1
    assert await collect(model) == "Yes [1]."
    await model.close()


@pytest.mark.parametrize("behave", [status(400), end_after_word], ids=["refusal", "half an answer"])
async def test_bad_answer_does_not_open_the_breaker(llm: LanguageModel, server: LlmServer, behave: Behaviour) -> None:
    server.behave = behave
    await fail(llm)
    server.behave = say_yes
    assert await collect(llm) == "Yes [1]."


async def test_closing_stops_the_model(llm: LanguageModel, server: LlmServer) -> None:
    server.behave = talk_until_left
    words = llm.write(PROMPT)
    assert await anext(words) == "Half"
    started = time.monotonic()
    await words.aclose()
    wait_until(lambda: server.calls[0].left_at, 1, "the connection was closed")
    assert time.monotonic() - started < 1
