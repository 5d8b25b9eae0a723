"""JSON bodies to the letter: Litestar reads "5" as 5, this service does not."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State

from pipeline.errors import FieldError, InvalidInput


class StrictRequest(Request[UUID, str, State]):
    """Checks a JSON body against the handler's type before Litestar, which converts it leniently, sees it."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises InvalidInput where it is of another type than the handler reads.
        """
        expected = self.route_handler.parsed_data_field
        if expected is None:
            return await super().json()
        try:
            body = _normalise(msgspec.json.decode(await self.body()))
        except msgspec.DecodeError:
            raise InvalidInput("The body is not JSON.", errors=(FieldError("body", "is not JSON"),)) from None
        try:
            msgspec.convert(body, type=expected.annotation)
        except msgspec.ValidationError as error:
            # "Expected `int`, got `str` - at `$.top_k`"
            message, _, place = str(error).partition(" - at ")
            field = place.strip("`").removeprefix("$.") or "body"
            raise InvalidInput("The body does not fit. See `errors`.", errors=(FieldError(field, message),)) from None
        return body


def _normalise(body: Any) -> Any:
    """To JSON 41.0 is an integer."""
    if not isinstance(body, dict):
        return body
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in body.items()
    }
