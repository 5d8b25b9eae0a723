"""The engine OpenVINO: fast on processors, and without torch. It runs a model that `export` has written."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from pipeline.embedding.model import EmbeddingModel, Engine, Precision, Tokens

MODEL_FILE = "model.xml"
TOKENIZER_FILE = "tokenizer.json"
DESCRIPTION_FILE = "description.json"
LENGTH_STEP = 16
"""Inputs are padded to a multiple of this length, in tokens. It costs no time, and saves 120 MB of code and buffers for
many different shapes."""
CONVERTER = "openvino.tools.ovc"
"""Module of OpenVINO that converts models. It takes 8 MiB, and imports the telemetry. Only an export needs it."""
TELEMETRY = "openvino_telemetry"
"""Package that sends statistics of the use of OpenVINO and NNCF to their makers."""
SHAPES_CACHED = 64
"""Number of input shapes for which OpenVINO keeps its compiled code. The default of 5,000 takes more memory."""


class Description(msgspec.Struct, frozen=True):
    """What a model that was exported needs to know besides its weights and its tokenizer."""

    dimension: int
    vocabulary: int
    """Number of token ids that the model knows."""
    max_tokens: int
    pad_id: int
    pads_left: bool


class OpenVinoModel(EmbeddingModel):
    """A model that was exported to a folder, run by OpenVINO in one thread."""

    engine = Engine.OPENVINO
    device = "cpu"

    def __init__(self, name: str, folder: Path, precision: Precision) -> None:
        """Load the model from a folder of the `ExportCache`, whose name has the hash of the model's files.

        The precision int8 needs a model that was exported for int8. Raises OSError, ValueError or RuntimeError if the
        model cannot be loaded, ImportError without OpenVINO.
        """
        self.name, self.precision, self.content = name, precision, folder.name
        self._description = msgspec.json.decode((folder / DESCRIPTION_FILE).read_bytes(), type=Description)
        self.dimension = self._description.dimension
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self._description.max_tokens)
        refuse_import(CONVERTER)
        import openvino  # noqa: PLC0415 - slow to import

        compiled = openvino.Core().compile_model(str(folder / MODEL_FILE), "CPU", make_options(precision))
        self._request = compiled.create_infer_request()

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each text, with the library `tokenizers` alone."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        """Return float32 unit vectors. Raises IndexError if a token is unknown to the model."""
        input_ids, attention_mask = self._pad(batch)
        if input_ids.max() >= self._description.vocabulary:
            raise IndexError("a token is unknown to the model")
        outputs = self._request.infer({"input_ids": input_ids, "attention_mask": attention_mask})
        return np.array(outputs[0], np.float32)  # a copy, because the next pass overwrites the buffer

    def _round_up(self, length: int) -> int:
        """Return the next multiple of LENGTH_STEP, or the maximum length of the model."""
        return max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, self._description.max_tokens))

    def _pad(self, batch: Sequence[Tokens]) -> tuple[np.ndarray, np.ndarray]:
        longest = self._round_up(max(map(len, batch)))
        input_ids = np.full((len(batch), longest), self._description.pad_id, np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, tokens in enumerate(batch):
            part = slice(longest - len(tokens), None) if self._description.pads_left else slice(len(tokens))
            input_ids[row, part] = tokens
            attention_mask[row, part] = 1
        return input_ids, attention_mask


def make_options(precision: Precision) -> dict[str, object]:
    """Return the options with which OpenVINO compiles a model: one thread, and this precision."""
    return {
        # The service scales by processes. More threads on busy cores are far slower.
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": SHAPES_CACHED,
        # Without the hint, an int8 model computes its other layers in slowly emulated bfloat16 on some processors.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == Precision.BFLOAT16 else "f32",
    }


def refuse_import(name: str) -> None:
    """Make every later import of a module fail with ImportError, which OpenVINO and NNCF expect."""
    sys.modules[name] = None  # type: ignore[assignment]  # None makes the import fail
