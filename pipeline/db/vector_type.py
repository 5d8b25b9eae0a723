"""The SQL type of vectors."""

from collections.abc import Callable

import msgspec
import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Dialect


class HalfVector(HALFVEC):
    """A vector of float16, sent as text. The base class takes ten times as long to write this text."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[np.ndarray | None], str | None]:  # noqa: ARG002 - the signature of SQLAlchemy
        """Return a function that writes a vector. PostgreSQL rounds its numbers to float16."""
        return write_vector


def write_vector(vector: np.ndarray | None) -> str | None:
    """Return the text of a vector, with the exact value of each number. None stays None."""
    return None if vector is None else msgspec.json.encode(vector.tolist()).decode()
