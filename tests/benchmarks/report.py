"""The figures of a run: one value per round, printed as medians and written as JSON."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.machine import Machine


@dataclass
class Report:
    """Figures and facts by name, and the machine on which they were measured."""

    machine: Machine
    facts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=dict)
    """Values in the order of the rounds."""

    def note(self, name: str, value: float) -> None:
        """Add a figure of one round."""
        self.figures.setdefault(name, []).append(value)

    def state(self, name: str, fact: str) -> None:
        """Set a fact."""
        self.facts[name] = fact

    def get_last(self, name: str) -> float:
        """Return the value of the last round. Raises KeyError if there is none."""
        return self.figures[name][-1]

    def note_ratio(self, name: str, dividend: str, divisor: str) -> None:
        """Set a figure to the ratio of two others, round by round: only figures of one round can be compared."""
        pairs = zip(self.figures.get(dividend, ()), self.figures.get(divisor, ()), strict=False)
        if ratios := [above / below for above, below in pairs]:
            self.figures[name] = ratios

    def print(self) -> None:
        """Print the median, the least and the greatest value of each figure."""
        table = Table("figure", "median", "least", "most", "rounds")
        for name, values in self.figures.items():
            shown = [format_figure(value) for value in (statistics.median(values), min(values), max(values))]
            table.add_row(name, *shown, str(len(values)))
        for name, fact in self.facts.items():
            table.add_row(name, fact)
        Console(width=130).print(str(self.machine), table)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_report(path: Path) -> Report:
    """Read what `Report.write` has written."""
    content = json.loads(path.read_text())
    return Report(Machine(**content["machine"]), content["facts"], content["figures"])


def format_figure(value: float) -> str:
    """Write a number with three significant digits. Write integers and large numbers without decimals."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def format_range(values: list[float]) -> str:
    """Write the median, and the least and greatest value if there are several."""
    median = format_figure(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({format_figure(min(values))}–{format_figure(max(values))})"
