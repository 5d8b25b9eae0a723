import json

import numpy as np
import pytest
from sqlalchemy import Integer, String, bindparam, create_engine, literal, select

from pipeline.db.direct import CompiledStatement
from pipeline.db.vector_type import HalfVector

DIALECT = create_engine("postgresql+asyncpg://").dialect


def test_values_are_parameters_except_for_literals() -> None:
    limit = bindparam("limit", type_=Integer, literal_execute=True)
    statement = select(bindparam("word", type_=String), literal(7)).limit(limit)
    compiled = CompiledStatement(statement, DIALECT)
    for value in (10, 20, 10):
        found = compiled.find({"limit": value, "word": "x"})
        assert found.text.endswith(f"LIMIT {value}")
        assert [parameter.choose({"word": "y"}) for parameter in found.parameters] == ["y", 7]
    assert compiled.find({"limit": 10}) is found


def test_missing_value_is_an_error() -> None:
    compiled = CompiledStatement(select(bindparam("word", type_=String)), DIALECT)
    [parameter] = compiled.find({"word": "x"}).parameters
    with pytest.raises(KeyError):
        parameter.choose({})


@pytest.mark.parametrize("number_format", [np.float32, np.float16])
def test_vectors_are_written_with_the_exact_value_of_each_number(number_format: type[np.floating]) -> None:
    vector = np.random.default_rng(5).normal(size=384).astype(number_format)
    vector[:3] = 0, -1, 6.2e-5
    compiled = CompiledStatement(select(bindparam("vector", type_=HalfVector(384))), DIALECT)
    [parameter] = compiled.find({"vector": vector}).parameters
    text = parameter.choose({"vector": vector})
    assert np.array_equal(np.array(json.loads(text)), vector.astype(float))
    assert parameter.choose({"vector": None}) is None
