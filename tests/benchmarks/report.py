"""What a run found: figures of several rounds, as medians in a table, as JSON and as plots."""

import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


class Report:
    """Figures by name, one value a round."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._facts: dict[str, str] = {}

    def note(self, name: str, value: float | str) -> None:
        """Add what one round found."""
        if isinstance(value, str):
            self._facts[name] = value
        else:
            self._values.setdefault(name, []).append(value)

    def get(self, name: str) -> float | None:
        """Median over the rounds; None where it was not measured."""
        values = self._values.get(name)
        return statistics.median(values) if values else None

    def compute_ratio(self, name: str, above: str, below: str) -> None:
        """Note the ratio of two figures round by round, for only what ran side by side can be compared."""
        for over, under in zip(self._values.get(above, ()), self._values.get(below, ()), strict=False):
            self.note(name, over / under)

    def print(self) -> None:
        """Print all figures: median, least, most."""
        table = Table("figure", "median", "least", "most", "rounds")
        for name, values in self._values.items():
            shown = [format(value, ".4g") for value in (statistics.median(values), min(values), max(values))]
            table.add_row(name, *shown, str(len(values)))
        for name, fact in self._facts.items():
            table.add_row(name, fact)
        Console(width=110).print(table)

    def write_json(self, path: Path) -> None:
        """Write every value of every round."""
        path.write_text(json.dumps({**self._facts, **self._values}, indent=2) + "\n")

    def plot(self, path: Path) -> None:
        """Draw where the processor's time goes, a page, and how a search grows with what there is to search."""
        from matplotlib import pyplot

        pyplot.switch_backend("Agg")
        figure, (stages, growth) = pyplot.subplots(1, 2, figsize=(12, 4))
        self._plot_stages(stages)
        self._plot_growth(growth)
        figure.tight_layout()
        figure.savefig(path, dpi=120)

    def _plot_stages(self, axes: Any) -> None:
        a_page = self.get("chunks_a_page") or 0.0
        costs = {
            "extract (pypdf)": self.get("extract_pypdf_cpu_seconds_a_page"),
            "extract": self.get("extract_cpu_seconds_a_page"),
            "chunk": self.get("chunk_cpu_seconds_a_page"),
            "encode (default)": _divide(a_page, self.get("encode_default_chunks_a_cpu_second")),
            "encode": _divide(a_page, self.get("encode_chunks_a_cpu_second")),
            "store": a_page * (self.get("store_cpu_seconds_a_chunk") or 0.0),
        }
        known = {name: 1000 * cost for name, cost in costs.items() if cost}
        axes.barh(list(known), list(known.values()))
        axes.invert_yaxis()
        axes.set(title="Processor time by stage", xlabel="ms a page")

    def _plot_growth(self, axes: Any) -> None:
        for label, ending in (
            ("alone", "_chunks_p50_ms"),
            ("beside the largest owner", "_chunks_beside_others_p50_ms"),
        ):
            names = [name for name in self._values if name.startswith("growth_") and name.endswith(ending)]
            points = sorted((int(name.split("_")[1]), self.get(name)) for name in names)
            if points:
                axes.semilogx(*zip(*points, strict=True), marker="o", label=label)
                axes.legend()
        axes.set(title="One search in PostgreSQL", xlabel="chunks of the owner", ylabel="ms, p50", ylim=0)


def _divide(above: float, below: float | None) -> float | None:
    return above / below if below else None
