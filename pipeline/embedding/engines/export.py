"""Writes a model for OpenVINO. Runs as a process of its own, because it needs torch and much memory."""

import os
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.embedding.engines import sample
from pipeline.embedding.engines.openvino_model import (
    DESCRIPTION_FILE,
    MODEL_FILE,
    TELEMETRY,
    TOKENIZER_FILE,
    Description,
    refuse_import,
)
from pipeline.embedding.engines.torch_model import TorchModel
from pipeline.embedding.model import Precision

if TYPE_CHECKING:
    import openvino

REFERENCE_FILE = "reference.npy"
"""The vectors of `sample.read_lines()` that torch computes in float32."""
FAILURE_FILE = "failure.json"
"""Why the export failed. Exists only if it did."""

EXPORT_ERRORS = (
    OSError, ValueError, RuntimeError, ImportError, KeyError, AttributeError, TypeError, StopIteration, AssertionError,
)  # fmt: skip
"""What libraries raise if a model does not suit them."""


class Failure(msgspec.Struct, frozen=True):
    """Why a model could not be exported."""

    cause: str
    is_unloadable: bool
    """True if no engine could load the model."""


def export(model: TorchModel, precision: Precision, folder: Path) -> None:
    """Write a model, loaded in float32, to a folder, with its tokenizer, its description and reference vectors.

    The precision is int8 or float32. Raises one of `EXPORT_ERRORS` if the model cannot be exported.
    """
    import openvino  # noqa: PLC0415 - slow to import

    np.save(folder / REFERENCE_FILE, model.encode(sample.read_lines()))
    _write_tokenizer(model, folder)
    converted = _convert(model)
    if precision == Precision.INT8:
        converted = _quantize(converted, model)
    # float16 weights take half the memory, and the vectors stay the same to the sixth digit.
    openvino.save_model(converted, folder / MODEL_FILE, compress_to_fp16=True)


def _write_tokenizer(model: TorchModel, folder: Path) -> None:
    tokenizer = model.transformer.tokenizer
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_FILE))
    embeddings = next(module for module in model.transformer.modules() if type(module).__name__ == "Embedding")
    description = Description(
        dimension=model.dimension,
        vocabulary=int(embeddings.num_embeddings),  # type: ignore[arg-type]  # an int in torch.nn.Embedding
        max_tokens=model.max_tokens,
        pad_id=int(tokenizer.pad_token_id),
        pads_left=tokenizer.padding_side == "left",
    )
    (folder / DESCRIPTION_FILE).write_bytes(msgspec.json.encode(description))


def _convert(model: TorchModel) -> "openvino.Model":
    import openvino  # noqa: PLC0415 - slow to import
    import torch  # noqa: PLC0415 - slow to import

    class UnitVectors(torch.nn.Module):
        """The whole model: token ids and attention mask in, unit vectors out."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = model.transformer
            self.takes_types = "token_type_ids" in model.transformer.tokenizer.model_input_names

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if self.takes_types:
                features["token_type_ids"] = torch.zeros_like(input_ids)
            vectors = self.transformer(features)["sentence_embedding"]
            return torch.nn.functional.normalize(vectors, dim=1)

    example = model.transformer.tokenizer(["a short text", "a longer one, so that the first is padded"], padding=True)
    inputs = {name: torch.tensor(example[name]) for name in ("input_ids", "attention_mask")}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of each condition on a shape
        converted = openvino.convert_model(UnitVectors().eval(), example_input=inputs)
    converted.reshape({name: openvino.PartialShape([-1, -1]) for name in inputs})
    return converted


def _quantize(converted: "openvino.Model", model: TorchModel) -> "openvino.Model":
    """Return the model with weights and activations in int8, calibrated with the sample."""
    import nncf  # noqa: PLC0415 - slow to import

    texts = [*sample.make_passages()[::4], *sample.read_lines()]

    def make_inputs(text: str) -> Mapping[str, np.ndarray]:
        tokens = np.array(model.tokenize([text]))
        return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}

    quantized: openvino.Model = nncf.quantize(
        converted,
        nncf.Dataset(texts, make_inputs),
        subset_size=len(texts),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    return quantized


def main() -> None:
    """Export the model and precision that the arguments name, to the folder that they name.

    A failure is written to the folder. The process also ends if its parent does.
    """
    name, precision, folder = sys.argv[1], Precision(sys.argv[2]), Path(sys.argv[3])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    refuse_import(TELEMETRY)
    is_loaded = False
    try:
        model = TorchModel(name, Precision.FLOAT32)
        is_loaded = True
        export(model, precision, folder)
    except EXPORT_ERRORS as error:
        failure = Failure(cause=repr(error), is_unloadable=not is_loaded)
        (folder / FAILURE_FILE).write_bytes(msgspec.json.encode(failure))
        sys.exit(1)


def _end_with_parent() -> None:
    """Wait for the end of the standard input, which the parent holds open."""
    os.read(sys.stdin.fileno(), 1)  # unlike a buffered read, it does not disturb the end of Python
    os._exit(1)


if __name__ == "__main__":
    main()
