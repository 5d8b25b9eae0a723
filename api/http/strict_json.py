"""Strict type checks for JSON bodies. Litestar alone would accept "5" for an integer."""

import codecs
from typing import Any

import msgspec

from api.auth import PUBLIC, UserRequest, require_valid
from pipeline.errors import FieldError, InvalidInput

UNKNOWN_FIELD = "Object contains unknown field "
"""How a message of msgspec about a field that the type does not have begins."""


class StrictRequest(UserRequest):
    """Checks a JSON body against the handler's type before Litestar converts it leniently.

    It also checks the token again, because it may have ended while the body arrived.
    """

    async def json(self) -> Any:
        """Return the decoded body.

        Raises InvalidInput if the body is not JSON or does not match the type that the handler declares, and the
        errors of `require_valid`.
        """
        expected = self.route_handler.parsed_data_field
        if expected is None:
            return await super().json()
        data = await self.body()
        if not PUBLIC.items() <= self.route_handler.opt.items():
            await require_valid(self)
        body = _normalise(_decode(data))
        try:
            # `raw`, because `annotation` lacks the limits of a body that is a list.
            msgspec.convert(body, type=expected.raw)
        except msgspec.ValidationError as error:
            message = "The request body is invalid. Correct the fields listed in `errors`."
            raise InvalidInput(message, errors=(name_field(error),)) from None
        return body


def decode_json(text: str, field: str) -> Any:
    """Return a JSON value that is the text of a field or a parameter.

    Raises InvalidInput if it is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        message = f"`{field}` is not valid JSON. Correct its syntax."
        raise InvalidInput(message, errors=(FieldError(field, "is not valid JSON"),)) from None


def name_field(error: msgspec.ValidationError) -> FieldError:
    """Return the field that msgspec complains about, and the reason."""
    # For example "Expected `int`, got `str` - at `$.top_k`", or "… - at `key` in `$.attributes`".
    reason, _, path = str(error).partition(" - at ")
    field = path.rpartition("$")[2].strip("`.")
    if reason.startswith(UNKNOWN_FIELD):
        name = reason.removeprefix(UNKNOWN_FIELD).strip("`")
        return FieldError(f"{field}.{name}" if field else name, "is not a field of this request")
    return FieldError(field or "body", reason)


def _decode(body: bytes) -> Any:
    try:
        # RFC 8259, section 8.1: parsers may ignore a byte order mark.
        return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        message = "The request body is not UTF-8. Send JSON encoded as UTF-8."
        raise InvalidInput(message, errors=(FieldError("body", "is not UTF-8"),)) from None
    except RecursionError:
        message = "The request body is nested too deeply. Send flatter JSON."
        raise InvalidInput(message, errors=(FieldError("body", "is nested too deeply"),)) from None
    except msgspec.DecodeError:
        message = "The request body is not valid JSON. Correct its syntax."
        raise InvalidInput(message, errors=(FieldError("body", "is not valid JSON"),)) from None


def _normalise(body: Any) -> Any:
    """Convert top-level floats such as 41.0 to integers: JSON does not distinguish them."""
    if not isinstance(body, dict):
        return body
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in body.items()
    }
