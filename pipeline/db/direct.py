"""Statements that asyncpg executes itself. SQLAlchemy only compiles them, once, and lends the connections of its pool.

SQLAlchemy's own path to asyncpg takes more processor time than all else that the API does for a search.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import asyncpg
from sqlalchemy import BindParameter, Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

MAX_COMPILED = 100
"""Maximum number of compiled statements that a pool remembers."""
NO_VALUES: Mapping[str, Any] = {}


class Row(asyncpg.Record):
    """A row, with its columns as attributes."""

    def __getattr__(self, name: str) -> Any:
        """Return the value of a column.

        Raises AttributeError if the row has no such column.
        """
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Parameter:
    """A parameter of a statement."""

    def __init__(self, bind: BindParameter[Any], dialect: Dialect) -> None:
        self._name = bind.key
        self._is_required = bind.required
        self._default = bind.effective_value
        self._convert = bind.type.dialect_impl(dialect).bind_processor(dialect)

    def choose(self, values: Mapping[str, Any]) -> Any:
        """Return the value in the form that asyncpg takes.

        Raises KeyError if the statement needs a value and there is none.
        """
        value = values[self._name] if self._is_required else self._default
        return self._convert(value) if self._convert else value


@dataclass(frozen=True, slots=True)
class StatementText:
    """The text of a statement, and its parameters in order."""

    text: str
    parameters: tuple[Parameter, ...]


class CompiledStatement:
    """A compiled statement. It has one text for each combination of the values that are part of the text."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        self._compiler = cast("SQLCompiler", statement.compile(dialect=dialect))
        self._dialect = dialect
        self._literals = [Parameter(bind, dialect) for bind in self._compiler.literal_execute_params]
        self._texts: dict[tuple[Any, ...], StatementText] = {}

    def find(self, values: Mapping[str, Any]) -> StatementText:
        """Return the text for these values."""
        key = tuple(literal.choose(values) for literal in self._literals)
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = self._expand(values)
        return found

    def _expand(self, values: Mapping[str, Any]) -> StatementText:
        state = self._compiler.construct_expanded_state(dict(values))
        binds = (self._compiler.binds[name] for name in state.positiontup or ())
        return StatementText(state.statement, tuple(Parameter(bind, self._dialect) for bind in binds))


Compile = Callable[[ClauseElement], CompiledStatement]


def make_compiler(dialect: Dialect) -> Compile:
    """Return a function that compiles a statement, and remembers the last MAX_COMPILED ones."""
    return lru_cache(maxsize=MAX_COMPILED)(partial(CompiledStatement, dialect=dialect))


class DirectConnection:
    """A connection whose statements asyncpg executes."""

    def __init__(self, driver: Any, compile_once: Compile) -> None:
        self._driver = driver
        self._compile = compile_once

    async def execute(self, statement: ClauseElement, values: Mapping[str, Any] = NO_VALUES) -> list[Row]:
        """Return all rows. Their values are as asyncpg reads them. A list of values must be an array, not an IN.

        Raises what asyncpg raises.
        """
        found = self._compile(statement).find(values)
        arguments = [parameter.choose(values) for parameter in found.parameters]
        rows: list[Row] = await self._driver.fetch(found.text, *arguments, record_class=Row)
        return rows
