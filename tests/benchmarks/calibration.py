"""How far the scores of passages differ from the share of them that is relevant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
LIMITS = (0.3, 0.5)
"""Scores that passages should rarely exceed if nothing answers the question."""
NONSENSE = ("zzqx unobtainium", "blorf zindle", "grault garply waldo", "quuxly frobnicate the wuggins")
"""Questions that no document answers, asked in every set beside those of the other sets."""


@dataclass(frozen=True)
class Calibration:
    """What the scores of one mode are worth in one set."""

    error: float
    """Expected calibration error of the passages of the set's own questions."""
    unanswerable: int
    """Number of questions of other sets, and of nonsense."""
    above: dict[str, float]
    """Share of them that got a passage above each limit."""


def calibrate(judged: Sequence[tuple[float, bool]], highest: Sequence[float]) -> Calibration:
    """Compute the measures.

    `judged` has the score of each passage and whether it is relevant. `highest` has the highest score of each question
    that nothing answers.
    """
    above = {str(limit): float(np.mean([score > limit for score in highest])) if highest else 0.0 for limit in LIMITS}
    return Calibration(measure_error(judged), len(highest), above)


def measure_error(judged: Sequence[tuple[float, bool]]) -> float:
    """Return the expected calibration error (Naeini, 2015) in 10 bins of equal width.

    It is the mean difference of a bin's mean score and its share of relevant passages, weighted by its passages.
    """
    if not judged:
        return 0.0
    scores, is_relevant = np.array(judged, float).T
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    differences = np.bincount(bins, weights=scores - is_relevant, minlength=BINS)
    return float(np.abs(differences).sum() / len(judged))
