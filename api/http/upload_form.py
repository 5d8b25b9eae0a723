"""What the fields of an upload's form say about the file."""

from typing import Any, TypeVar

import msgspec

from api.http.multipart import Fields
from api.http.strict_json import decode_json, name_field
from api.schemas import UploadFields
from pipeline.errors import FieldError, InvalidInput
from pipeline.types import UploadDetails

FIELDS = UploadFields.__struct_fields__
REPEATED = ("collection_id",)
IN_JSON = ("metadata", "attributes")

Form = TypeVar("Form", bound=msgspec.Struct)


def read_details(form: Fields) -> UploadDetails:
    """Return what the form says. Raises InvalidInput, which names the field."""
    fields = read_as(form, UploadFields)
    return UploadDetails(fields.metadata, fields.external_id, frozenset(fields.collection_id), fields.attributes)


def read_as(form: Fields, expected: type[Form]) -> Form:
    """Return the fields of a form. Raises InvalidInput, which names the field."""
    values = {name: _read(name, form[name]) for name in form}
    try:
        return msgspec.convert(values, expected)
    except msgspec.ValidationError as error:
        raise _refuse(name_field(error)) from None


def _read(name: str, texts: Any) -> Any:
    if name in REPEATED:
        return list(texts)
    if len(texts) > 1:
        raise _refuse(FieldError(name, "occurs twice"))
    return decode_json(texts[0], name) if name in IN_JSON else texts[0]


def _refuse(problem: FieldError) -> InvalidInput:
    return InvalidInput("The form is invalid. Correct the fields listed in `errors`.", errors=(problem,))
