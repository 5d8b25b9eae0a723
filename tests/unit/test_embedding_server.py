"""What an answer of an embedding server means."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.embedding.model import LARGEST_DIMENSION
from pipeline.embedding.server import EmbeddingServer, Fault, ServerFailure, explain_status, read_vectors


def write(*vectors: object, **changed: Any) -> bytes:
    data = [{"index": index, "embedding": vector, **changed} for index, vector in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


def test_vectors_have_unit_length_and_the_order_of_the_texts() -> None:
    shuffled = b'{"data": [{"index": 1, "embedding": [0, -2]}, {"index": 0, "embedding": [3, 4.0]}]}'
    vectors = read_vectors(shuffled, 2, None)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [pytest.approx([0.6, 0.8]), [0, -1]]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"<html>", "does not answer with embeddings"),
        (b'{"error": "no"}', "does not answer with embeddings"),
        (b"[" * 100_000, "does not answer with embeddings"),
        (write([1, None]), "does not answer with embeddings"),
        (write([1, float("nan")]), "does not answer with embeddings"),
        (write([1, "2"]), "does not answer with embeddings"),
        (write("AACAPw=="), "does not answer with embeddings"),
        (write(), "one vector for each text"),
        (write([1, 2], [1, 2]), "one vector for each text"),
        (write([1, 2], index=1), "one vector for each text"),
        (write([1, 2, 3]), "another dimension"),
        (write([]), "another dimension"),
        (write([0, 0]), "zero or not finite"),
        (write([1e200, 1e200]), "zero or not finite"),
    ],
)
def test_wrong_answers_are_refused(answer: bytes, problem: str) -> None:
    with pytest.raises(ServerFailure, match=problem) as raised:
        read_vectors(answer, 1, 2)
    assert raised.value.fault == Fault.UNKNOWN


def test_vectors_of_unequal_dimensions_are_refused() -> None:
    with pytest.raises(ServerFailure, match="another dimension"):
        read_vectors(write([1, 2], [1]), 2, None)


def test_vectors_that_are_too_large_to_store_are_refused() -> None:
    assert read_vectors(write([1] * LARGEST_DIMENSION), 1, None).shape == (1, LARGEST_DIMENSION)
    with pytest.raises(ServerFailure, match="vectors of 3801 numbers, but at most 3800 can be stored") as raised:
        read_vectors(write([1] * (LARGEST_DIMENSION + 1)), 1, None)
    assert raised.value.fault == Fault.SETTINGS


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (204, Fault.SETTINGS),
        (307, Fault.SETTINGS),
        (400, Fault.TEXTS),
        (401, Fault.SETTINGS),
        (404, Fault.SETTINGS),
        (408, Fault.SERVER),
        (413, Fault.TEXTS),
        (422, Fault.TEXTS),
        (424, Fault.UNKNOWN),
        (429, Fault.SERVER),
        (500, Fault.UNKNOWN),
        (502, Fault.SERVER),
        (503, Fault.SERVER),
    ],
)
def test_statuses(status: int, fault: Fault) -> None:
    assert explain_status(status, "").fault == fault


def test_key_does_not_show() -> None:
    assert "hidden" not in repr(EmbeddingServer("http://127.0.0.1:1/v1", "sk-hidden"))
