"""Messages of invalid input, in words of people."""

from typing import Annotated

import msgspec
import pytest

from api.errors import say_plainly


class Form(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(min_length=8, max_length=9)] = "12345678"
    number: Annotated[int, msgspec.Meta(ge=1)] = 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"text": "short"}', "must have at least 8 characters"),
        (b'{"text": "much too long"}', "must have at most 9 characters"),
        (b'{"number": 0}', "Expected `int` >= 1"),
        (b'{"text": 1}', "Expected `str`, got `int`"),
    ],
)
def test_length_of_a_text_is_said_plainly(body: bytes, message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Form)
    assert say_plainly(str(caught.value).partition(" - at")[0]) == message
