"""Lists in which a client names the item next to which the part that it wants begins."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.errors import FieldError, InvalidInput
from pipeline.types import ListPart

Values = TypeVar("Values", bound=tuple[Any, ...])


async def read_part(
    session: AsyncSession,
    query: Select[Values],
    keys: Sequence[ColumnElement[Any]],
    part: ListPart,
    *conditions: ColumnElement[bool],
) -> tuple[list[Row[Values]], bool]:
    """Return the part of a list, and whether more follows in the direction of the request.

    `keys` sort the list. The last one is the id of an item. The neighbour is in the list, but need not satisfy the
    conditions, because the status of an item changes.
    Raises InvalidInput if the list has no such item.
    """
    is_backwards = part.before is not None and part.after is None
    chosen = query.where(*conditions)
    for field, neighbour in (("after", part.after), ("before", part.before)):
        if neighbour is None:
            continue
        place = (await session.execute(query.with_only_columns(*keys).where(keys[-1] == neighbour))).one_or_none()
        if place is None:
            raise _unknown(field)
        is_above = part.is_rising == (field == "after")
        chosen = chosen.where(tuple_(*keys) > tuple_(*place) if is_above else tuple_(*keys) < tuple_(*place))
    is_rising = part.is_rising != is_backwards
    ordered = chosen.order_by(*[key if is_rising else key.desc() for key in keys])
    found = (await session.execute(ordered.limit(part.limit + 1))).all()
    rows = list(found[: part.limit])
    return rows[::-1] if is_backwards else rows, len(found) > part.limit


def _unknown(field: str) -> InvalidInput:
    problem = FieldError(field, "is not the id of an item of this list")
    return InvalidInput(f"`{field}` is not the id of an item of this list. Begin again without it.", errors=(problem,))
