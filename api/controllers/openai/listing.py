"""Lists in the format of OpenAI: a request names the item next to which the part begins, by its id."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from pipeline.errors import FieldError, InvalidInput, NotFound
from pipeline.types import ListPart

Item = TypeVar("Item", bound=msgspec.Struct)

Order = Annotated[Literal["asc", "desc"], QueryParameter()]
Neighbour = Annotated[str | None, QueryParameter(max_length=100)]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
DEFAULT_LIMIT = 20


class ItemList(msgspec.Struct, Generic[Item]):
    """A part of a list."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def show_list(items: Sequence[Any], *, has_more: bool) -> ItemList[Any]:
    """Return a part of a list. Each item has an id."""
    first, last = (items[0].id, items[-1].id) if items else (None, None)
    return ItemList(list(items), first, last, has_more)


def read_part(limit: int, order: Literal["asc", "desc"], after: str | None, before: str | None = None) -> ListPart:
    """Return which part of a list a request wants.

    Raises InvalidInput if an id has another form than all ids.
    """
    return ListPart(limit, _read_neighbour("after", after), _read_neighbour("before", before), order == "asc")


def _read_neighbour(field: str, given: str | None) -> UUID | None:
    try:
        return None if given is None else UUID(given)
    except ValueError:
        problem = FieldError(field, "is not the id of an item")
        raise InvalidInput(f"`{field}` is not the id of an item of this list.", errors=(problem,)) from None


def read_id(given: str, kind: str) -> UUID:
    """Return the id of a file, a store or a batch.

    Raises NotFound if it has another form than all ids.
    """
    try:
        return UUID(given)
    except ValueError:
        raise NotFound(f"This {kind} does not exist. Check its id.") from None
