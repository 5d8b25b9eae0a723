"""How texts are cut into batches, and which precision a processor gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.model import BATCH_TOKENS, PASS_TOKENS, Precision, choose_precision, cut_batches


@given(st.lists(st.integers(1, 3000), max_size=200))
def test_batches_hold_every_text_once_and_little_padding(lengths: list[int]) -> None:
    batches = list(cut_batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= BATCH_TOKENS
        assert sum(longest - lengths[index] for index in batch) <= PASS_TOKENS


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True}, Precision.FLOAT32),
        ({"amx_bf16": False, "avx512_bf16": True}, Precision.BFLOAT16),
        ({"amx_bf16": True}, Precision.BFLOAT16),
    ],
)
def test_precision_fits_the_processor(capabilities: dict[str, bool], precision: Precision) -> None:
    assert choose_precision(capabilities) == precision
