"""The engine torch: the reference for the others, and the engine for GPUs and for models that cannot be exported."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from pipeline.embedding.engines.model_files import identify_files
from pipeline.embedding.model import BATCH_TOKENS, PASS_TOKENS, EmbeddingModel, Engine, Precision, Tokens, find_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = "cpu"
DeviceFinder = Callable[[str], str]
"""Returns the device for the wanted one, as `find_device` does."""
GPU_BATCH_TOKENS = 65_536
"""Maximum tokens of one forward pass on a GPU, padding included."""
GPU_PASS_TOKENS = 4_096
"""Fixed cost of one forward pass on a GPU, in token equivalents."""


class DeviceMissing(RuntimeError):
    """Torch does not find the device. The message gives the reason and, after a semicolon, the advice."""


def choose_cpu_precision(capabilities: Mapping[str, bool]) -> Precision:
    """Return bfloat16 if the processor can multiply matrices in it (AMX, AVX512-BF16), otherwise float32."""
    has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return Precision.BFLOAT16 if has_bfloat16 else Precision.FLOAT32


class TorchModel(EmbeddingModel):
    """A model of sentence-transformers, run by torch."""

    engine = Engine.TORCH

    def __init__(self, name: str, precision: Precision | None = None, device: str = "cpu") -> None:
        """Load the packaged model, a folder, or a model by its hub name, in the best precision of the device.

        The device is `auto`, `cpu`, `cuda` or `mps`. Takes seconds, because it imports torch.
        Raises OSError, ValueError, RuntimeError, ImportError or KeyError if the model cannot be loaded, DeviceMissing
        if there is no such device.
        """
        folder = find_folder(name)
        if folder:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # oneDNN caches code and buffers for the last 1,024 input shapes by default, and shapes hardly ever repeat.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

        import torch  # noqa: PLC0415 - slow to import
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - slow to import
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415 - slow to import

        # Two OpenMP threads on busy cores are far slower than one. The service scales by processes.
        torch.set_num_threads(1)
        disable_progress_bar()
        self.name = name
        self.device = find_device(device)
        self.precision = precision or _choose_precision(self.device)
        is_cpu = self.device == CPU
        self.batch_tokens = BATCH_TOKENS if is_cpu else GPU_BATCH_TOKENS
        self.pass_tokens = PASS_TOKENS if is_cpu else GPU_PASS_TOKENS
        self.transformer = SentenceTransformer(
            str(folder or name), device=self.device, model_kwargs={"dtype": getattr(torch, self.precision)}
        )
        self.content = identify_files(name)
        self.tokenizer = _copy_tokenizer(self.transformer.tokenizer, self.max_tokens)
        self.dimension = int(self.embed(self.tokenize(["warm up"])).shape[1])

    @property
    def max_tokens(self) -> int:
        """Maximum length of a text in tokens. The rest is cut off."""
        limits = (self.transformer.max_seq_length, self.transformer.tokenizer.model_max_length)
        return min(int(limit) for limit in limits if limit is not None)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each text, with the tokenizer of transformers."""
        # Passed in each call, because the packaged tokenizer truncates and pads to 128 tokens by default.
        found = self.transformer.tokenizer(list(texts), truncation=True, max_length=self.max_tokens, padding=False)
        return list(found["input_ids"])

    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        """Return float32 unit vectors. Raises IndexError if a token is unknown to the model."""
        import torch  # noqa: PLC0415 - slow to import

        padded = self.transformer.tokenizer.pad({"input_ids": list(batch)}, return_tensors="pt")
        with torch.inference_mode():
            features = {name: values.to(self.device) for name, values in padded.items()}
            vectors: torch.Tensor = self.transformer(features)["sentence_embedding"].float()
            unit: np.ndarray = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return unit


def _copy_tokenizer(tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> Tokenizer | None:
    """Return a copy that truncates. The original is not safe for threads, because each call sets how it truncates."""
    if not tokenizer.is_fast:
        return None
    copied: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copied.no_padding()
    copied.enable_truncation(max_tokens)
    return copied


def find_device(wanted: str) -> str:
    """Return the device of this machine: the wanted one, or for `auto` a GPU if there is one.

    Raises DeviceMissing if the wanted device is missing.
    """
    import torch  # noqa: PLC0415 - slow to import

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), CPU: True}
    if wanted == "auto":
        return next(device for device, is_available in available.items() if is_available)
    if not available[wanted]:
        raise DeviceMissing(f"torch finds no device {wanted}; set EMBEDDING_DEVICE to auto or cpu")
    return wanted


def may_have_gpu() -> bool:
    """Return True if this machine seems to have a GPU, and torch is built for it. Does not import torch."""
    has_gpu = Path("/dev/nvidiactl").exists() or Path("/System/Library/Frameworks/Metal.framework").exists()
    return has_gpu and not version("torch").endswith("+cpu")


def _choose_precision(device: str) -> Precision:
    import torch  # noqa: PLC0415 - slow to import

    if device == CPU:
        return choose_cpu_precision(torch.cpu.get_capabilities())
    if device == "cuda" and torch.cuda.is_bf16_supported():
        return Precision.BFLOAT16
    return Precision.FLOAT16
