"""The hash of the files of a model."""

import os
from pathlib import Path

from pipeline.embedding.engines.model_files import identify_files


def test_replaced_weights_change_the_hash(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    (tmp_path / "config.json").write_text("{}")
    weights.write_bytes(b"1")
    os.utime(weights, (0, 0))
    before = identify_files(str(tmp_path))
    assert identify_files(str(tmp_path)) == before
    weights.write_bytes(b"2")
    os.utime(weights, (0, 0))
    assert identify_files(str(tmp_path)) != before
