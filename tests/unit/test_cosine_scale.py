import numpy as np
import pytest

from pipeline.stages.cosine_scale import QUESTIONS, RELATED, TEXTS, UNRELATED, measure_scale


def make_vectors(unrelated: float, related: float) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of questions and texts with these cosines."""
    wanted = np.full((len(QUESTIONS), len(TEXTS)), unrelated)
    np.fill_diagonal(wanted, related)
    return np.eye(len(QUESTIONS)), wanted.T


@pytest.mark.parametrize(("unrelated", "related"), [(0.75, 0.88), (0.0, 0.9), (-0.2, 0.3)])
def test_cosines_are_converted_to_those_of_the_packaged_model(unrelated: float, related: float) -> None:
    scale = measure_scale(*make_vectors(unrelated, related))
    assert scale.convert(unrelated) == pytest.approx(UNRELATED)
    assert scale.convert(related) == pytest.approx(RELATED)
    assert scale.convert((unrelated + related) / 2) == pytest.approx((UNRELATED + RELATED) / 2)


@pytest.mark.parametrize("related", [0.5, 0.501, 0.4])
def test_model_that_cannot_tell_texts_apart_never_seems_certain(related: float) -> None:
    scale = measure_scale(*make_vectors(0.5, related))
    assert scale.convert(0.5) == pytest.approx(UNRELATED)
    assert scale.factor == pytest.approx((RELATED - UNRELATED) / 0.02)


def test_scale_of_the_packaged_model_changes_nothing() -> None:
    scale = measure_scale(*make_vectors(UNRELATED, RELATED))
    assert [scale.factor, scale.offset] == pytest.approx([1.0, 0.0])
