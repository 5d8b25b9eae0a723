"""How texts are cut into batches."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.model import BATCH_TOKENS, PASS_TOKENS, cut_batches


@given(st.lists(st.integers(1, 3000), max_size=200))
def test_batches_hold_every_text_once_and_little_padding(lengths: list[int]) -> None:
    batches = list(cut_batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= BATCH_TOKENS
        assert sum(longest - lengths[index] for index in batch) <= PASS_TOKENS
