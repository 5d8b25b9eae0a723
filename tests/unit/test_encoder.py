import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.encoder import Encoder, Request, embed_round, take_texts
from pipeline.embedding.model import (
    BATCH_TOKENS,
    PACKAGED_MODEL,
    PASS_TOKENS,
    EmbeddingModel,
    Precision,
    choose_precision,
    cut_batches,
)
from pipeline.errors import IngestionError, ModelUnavailable

TEXTS = ["short", "The quick brown fox jumps over the lazy dog.", "revenue " * 600, "", "Umsatz und Gewinn 2023 " * 20]


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    return EmbeddingModel(PACKAGED_MODEL)


@pytest.fixture(scope="module")
def exact_model() -> EmbeddingModel:
    return EmbeddingModel(PACKAGED_MODEL, Precision.FLOAT32)


@pytest.fixture
async def encoder(anyio_backend: str) -> AsyncIterator[Encoder]:  # noqa: ARG001
    encoder = Encoder(PACKAGED_MODEL)
    encoder.start()
    await encoder.wait()
    yield encoder
    encoder.close()


@given(st.lists(st.integers(1, 3000), max_size=200))
def test_batches_hold_every_text_once_and_little_padding(lengths: list[int]) -> None:
    batches = list(cut_batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= BATCH_TOKENS
        assert sum(longest - lengths[index] for index in batch) <= PASS_TOKENS


def test_vectors_are_those_of_sentence_transformers(exact_model: EmbeddingModel) -> None:
    expected = exact_model._model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.allclose(exact_model.encode(TEXTS), expected, atol=1e-5)


def test_vectors_of_this_processor_are_close_to_float32(model: EmbeddingModel, exact_model: EmbeddingModel) -> None:
    vectors, exact = model.encode(TEXTS), exact_model.encode(TEXTS)
    assert model.precision == choose_precision()
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert (vectors * exact).sum(axis=1).min() >= 0.999


def test_precision_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, expected in (
        ({"avx512_f": True}, Precision.FLOAT32),
        ({"amx_bf16": False, "avx512_bf16": True}, Precision.BFLOAT16),
        ({"amx_bf16": True}, Precision.BFLOAT16),
    ):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda found=found: found)
        assert choose_precision() == expected


def open_request(model: EmbeddingModel, texts: list[str]) -> Request:
    request = Request(texts)
    request.open(model)
    return request


def test_a_note_does_not_wait_for_a_book(model: EmbeddingModel) -> None:
    book = open_request(model, ["revenue " * 300] * 50)
    note = open_request(model, ["milk, bread and butter"])
    embed_round(model, [book, note])
    assert note.answer.done()
    assert not book.answer.done()
    assert 0 < len(book.waiting) < 50


def test_callers_take_turns(model: EmbeddingModel) -> None:
    requests = [open_request(model, ["revenue " * 300] * 50) for _ in range(3)]
    taken = [requests.index(request) for request, _ in take_texts(requests)]
    assert taken[:6] == [0, 1, 2, 0, 1, 2]


def test_nobody_is_served_who_has_left(model: EmbeddingModel) -> None:
    gone, here = open_request(model, ["one"]), open_request(model, ["two"])
    gone.answer.cancel()
    assert [request for request, _ in take_texts([gone, here])] == [here]


def test_texts_that_share_a_pass_do_not_share_a_failure(model: EmbeddingModel) -> None:
    good, broken = open_request(model, ["one", "two"]), open_request(model, ["three"])
    broken.tokens[0][1] = 10**9  # no such token
    embed_round(model, [good, broken])
    assert isinstance(broken.answer.exception(), IndexError)
    assert np.allclose(good.answer.result(), model.encode(["one", "two"]), atol=1e-2)


@pytest.mark.anyio
async def test_everybody_gets_his_own_vectors(encoder: Encoder, exact_model: EmbeddingModel) -> None:
    callers = [[f"question {number} about {text}" for text in TEXTS[: number % 4 + 1]] for number in range(24)]
    answers = await asyncio.gather(*(encoder.encode(texts) for texts in callers))
    for texts, vectors in zip(callers, answers, strict=True):
        assert (vectors * exact_model.encode(texts)).sum(axis=1).min() >= 0.999


@pytest.mark.anyio
async def test_what_cannot_be_embedded_is_an_error_of_its_caller_alone(encoder: Encoder) -> None:
    broken: list[str] = [None]  # type: ignore[list-item]
    answers = await asyncio.gather(encoder.encode(broken), encoder.encode(["fine"]), return_exceptions=True)
    assert isinstance(answers[0], IngestionError)
    assert isinstance(answers[1], np.ndarray)


@pytest.mark.anyio
async def test_closed_encoder_answers_who_had_asked_and_nobody_else(encoder: Encoder) -> None:
    asking = [asyncio.create_task(encoder.encode(["revenue " * 100] * 20)) for _ in range(3)]
    await asyncio.sleep(0)  # they have asked
    encoder.close()
    with pytest.raises(ModelUnavailable):
        await encoder.encode(["too late"])
    assert [len(vectors) for vectors in await asyncio.gather(*asking)] == [20] * 3
    assert encoder.join(10)


@pytest.mark.anyio
async def test_who_waits_for_a_model_that_is_given_up_is_told(tmp_path: Path) -> None:
    encoder = Encoder(str(tmp_path))
    encoder.start()
    waiting = asyncio.create_task(encoder.wait())
    await asyncio.sleep(0)
    encoder.close()
    with pytest.raises(ModelUnavailable):
        await waiting


@pytest.mark.anyio
async def test_before_the_model_is_there_callers_are_told() -> None:
    with pytest.raises(ModelUnavailable):
        await Encoder(PACKAGED_MODEL).encode(["too early"])
