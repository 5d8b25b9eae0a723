"""Lists in which a client names the item next to which the part that it wants begins."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.errors import FieldError, InvalidInput
from pipeline.types import Window

Values = TypeVar("Values", bound=tuple[Any, ...])


async def read_window(
    session: AsyncSession,
    query: Select[Values],
    keys: Sequence[ColumnElement[Any]],
    window: Window,
    *conditions: ColumnElement[bool],
) -> tuple[list[Row[Values]], bool]:
    """Return the part of a list, and whether more follows in the direction of the request.

    `keys` sort the list. The last one is the id of an item. The neighbour is in the list, but need not satisfy the
    conditions, because the status of an item changes.
    Raises InvalidInput if the list has no such item.
    """
    is_backwards = window.before is not None and window.after is None
    chosen = query.where(*conditions)
    for field, neighbour in (("after", window.after), ("before", window.before)):
        if neighbour is None:
            continue
        place = (await session.execute(query.with_only_columns(*keys).where(keys[-1] == neighbour))).one_or_none()
        if place is None:
            raise _unknown(field)
        is_above = window.is_rising == (field == "after")
        chosen = chosen.where(tuple_(*keys) > tuple_(*place) if is_above else tuple_(*keys) < tuple_(*place))
    is_rising = window.is_rising != is_backwards
    ordered = chosen.order_by(*[key if is_rising else key.desc() for key in keys])
    found = (await session.execute(ordered.limit(window.limit + 1))).all()
    rows = list(found[: window.limit])
    return rows[::-1] if is_backwards else rows, len(found) > window.limit


def _unknown(field: str) -> InvalidInput:
    problem = FieldError(field, "is not the id of an item of this list")
    return InvalidInput(f"`{field}` is not the id of an item of this list. Begin again without it.", errors=(problem,))
