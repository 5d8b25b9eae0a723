"""Messages of invalid input, in words of people."""

from typing import Annotated

import msgspec
import pytest

from api.errors import make_problem, say_plainly
from pipeline.errors import FieldError


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


def test_message_for_sdks_names_the_invalid_fields() -> None:
    wrong = (FieldError("filter.op", "is missing"), FieldError("top_k", "Expected `int` <= 50"))
    problem = make_problem(
        422, "The filter is invalid. Correct the fields listed in `errors`.", "invalid_input", "1", wrong
    )
    assert problem.error.message == "The filter is invalid. `filter.op`: is missing. `top_k`: Expected `int` <= 50."
    plain = make_problem(422, "The query has no word.", "invalid_input", "1", wrong[:1])
    assert plain.error.message == plain.detail
