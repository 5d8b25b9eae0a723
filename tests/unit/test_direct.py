import pytest
from sqlalchemy import Integer, String, bindparam, create_engine, literal, select

from pipeline.db.direct import CompiledStatement

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
