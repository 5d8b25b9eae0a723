"""The scores of a run of `make bench-retrieval`: written to a file, and compared with each other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.benchmarks.calibration import LIMITS, Calibration
from tests.benchmarks.machine import Machine
from tests.benchmarks.scoring import METRICS, Score

PLAIN_MODE = "vector"
"""The mode with which the others are compared."""
SAMPLES = 10_000
WIDTH = 150

Measure = Callable[[Score], float]


@dataclass(frozen=True)
class SetScores:
    """The scores of the questions of one set, by mode, always in the same order."""

    name: str
    scope: str
    """Where the questions were asked: in all documents, or in the right one."""
    scores: dict[str, list[Score]]
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    """What the scores of passages are worth, by mode."""

    def get_values(self, mode: str, measure: Measure) -> list[float]:
        return [measure(score) for score in self.scores[mode]]


@dataclass(frozen=True)
class Scores:
    """The scores of all sets of a run."""

    machine: Machine
    model: str
    """With its engine and precision; empty if it is unknown."""
    sets: list[SetScores]

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    def find(self, name: str, scope: str) -> SetScores | None:
        return next((one for one in self.sets if (one.name, one.scope) == (name, scope)), None)


def read_scores(path: Path) -> Scores:
    """Read what `Scores.write` has written."""
    content = json.loads(path.read_text())
    sets = [
        SetScores(
            one["name"],
            one["scope"],
            {mode: [Score(**score) for score in scores] for mode, scores in one["scores"].items()},
            {mode: Calibration(**found) for mode, found in one.get("calibrations", {}).items()},
        )
        for one in content["sets"]
    ]
    return Scores(Machine(**content["machine"]), content["model"], sets)


def bootstrap(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean difference of paired values, which is the same in every call.

    It is the percentile bootstrap (Efron, 1979). Raises ValueError if there are not as many values after as before.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} values cannot be paired with {len(after)}")
    differences = np.subtract(after, before)
    drawn = np.random.default_rng(0).integers(len(differences), size=(SAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def format_interval(before: Sequence[float], after: Sequence[float]) -> str:
    """Write the interval of the difference, or a dash if no value differs."""
    if list(before) == list(after):
        return "–"
    low, high = bootstrap(before, after)
    return f"{low:+.3f} to {high:+.3f}"


def print_modes(scores: Scores) -> None:
    """Print the means of each mode, and the interval of their difference from `vector` search."""
    table = Table("set", "searched in", "mode", "questions", *METRICS)
    for one in scores.sets:
        for mode, values in one.scores.items():
            cells = [_describe(one.get_values(PLAIN_MODE, get), one.get_values(mode, get)) for get in METRICS.values()]
            table.add_row(one.name, one.scope, mode, str(len(values)), *cells)
    Console(width=WIDTH).print(table)


def print_calibrations(scores: Scores) -> None:
    """Print for each mode how far scores differ from shares, and how often nothing answers and a passage seems to."""
    columns = ("calibration error", "unanswerable questions", *(f"with a passage above {limit}" for limit in LIMITS))
    table = Table("set", "searched in", "mode", *columns)
    for one in scores.sets:
        for mode, found in one.calibrations.items():
            above = (f"{share:.3f}" if found.unanswerable else "–" for share in found.above.values())
            table.add_row(one.name, one.scope, mode, f"{found.error:.3f}", str(found.unanswerable), *above)
    Console(width=WIDTH).print(table)


def print_changes(before: Scores, after: Scores) -> None:
    """Print the means of each mode after a change, and the interval of their difference from those before it."""
    table = Table("set", "searched in", "mode", "questions", *(f"{name}: before, after" for name in METRICS))
    for new in after.sets:
        if old := before.find(new.name, new.scope):
            for mode, values in new.scores.items():
                pairs = [(old.get_values(mode, get), new.get_values(mode, get)) for get in METRICS.values()]
                cells = [f"{np.mean(first):.3f}, {_describe(first, second)}" for first, second in pairs]
                table.add_row(new.name, new.scope, mode, str(len(values)), *cells)
    Console(width=WIDTH).print(table)


def _describe(before: Sequence[float], after: Sequence[float]) -> str:
    return f"{np.mean(after):.3f} ({format_interval(before, after)})"
