"""How many multiplications the packaged model needs, and how many the processor can do."""

import time
from collections.abc import Callable, Sequence

LAYERS = 6
WIDTH = 384
INNER_WIDTH = 1536
MATRIX = (2048, 1536, 1536)
"""Rows, inner size and columns: large enough that the time is spent in multiplications."""
REPETITIONS = 20


def compute_operations(lengths: Sequence[int]) -> float:
    """Return the additions and multiplications of the packaged model for texts with these lengths in tokens."""
    linear = 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER_WIDTH)
    return float(LAYERS * sum(length * linear + 4 * length * length * WIDTH for length in lengths))


def measure_matrix_peak(precision: str) -> float:
    """Multiply large matrices of `int8`, `bfloat16` or `float32`. Return the operations per processor second."""
    import torch

    torch.set_num_threads(1)
    multiply = _make_multiplication(precision)
    multiply()
    started = time.process_time()
    for _ in range(REPETITIONS):
        multiply()
    rows, inner, columns = MATRIX
    return 2 * rows * inner * columns * REPETITIONS / (time.process_time() - started)


def _make_multiplication(precision: str) -> Callable[[], object]:
    import torch

    rows, inner, columns = MATRIX
    if precision == "int8":
        left = torch.randint(-127, 127, (rows, inner), dtype=torch.int8)
        right = torch.randint(-127, 127, (columns, inner), dtype=torch.int8).t()
        return lambda: torch._int_mm(left, right)  # torch has no public multiplication of int8
    dtype = getattr(torch, precision)
    # A layer, because oneDNN keeps its weights in the best order.
    layer = torch.nn.Linear(inner, columns, dtype=dtype).requires_grad_(False)
    batch = torch.randn(rows, inner, dtype=dtype)
    return lambda: layer(batch)
