"""Completes the OpenAPI document with parts that Litestar cannot infer: shared errors, headers and examples."""

from collections.abc import Iterator

import msgspec
from litestar.openapi.spec import (
    Example,
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
)

from api import schemas
from api.http.operations import problems
from api.openapi.examples import PARAMETERS, TEXTS, UPLOAD, find_example, find_problems
from pipeline import filters
from pipeline.types import Operator

METHODS = ("get", "put", "post", "patch", "delete")
PROBLEM = "application/problem+json"

HEADERS = {
    "X-Request-Id": (
        "Id of the request in the server's log: the one you sent, or a new one.",
        "019a1b2c-5e6f-7a70-8b8c-9d0e1f2a3b4c",
    ),
    "Retry-After": ("Seconds to wait before the next request, at most 120.", 5),
    "WWW-Authenticate": ("How to authenticate.", "Bearer"),
    "RateLimit": (
        "Requests left (`r`), and seconds until the oldest counted one expires (`t`). Absent if no limit applies.",
        '"query";r=239;t=60',
    ),
    "RateLimit-Policy": ("Maximum number of requests (`q`) in a window of `w` seconds.", '"query";q=240;w=60'),
    "X-Should-Retry": (
        "Always `false`. It keeps the SDKs of OpenAI from sending the request again by themselves.",
        "false",
    ),
    "Location": ("Path of the document.", "/v1/documents/019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"),
    "Deduplicated": ("Present if a document already had these bytes.", "true"),
    "ETag": ("Value for `If-None-Match`.", '"4e07408562bedb8b60ce05c1decfe3ad"'),
    "Cache-Control": (
        "Only the client may cache the response, and must revalidate it before each use.",
        "private, no-cache",
    ),
    "Preference-Applied": ("The `Prefer` preference that was applied.", "wait=30"),
    "Content-Disposition": ("File name, encoded as in RFC 6266.", 'attachment; filename="alder-lock-handbook.pdf"'),
}
HEADERS_OF_STATUS = {
    401: ("WWW-Authenticate",),
    409: ("X-Should-Retry",),
    429: ("Retry-After",),
    503: ("Retry-After",),
    507: ("Retry-After",),
}
HEADERS_OF_SUCCESS = {
    "POST /v1/documents": ("Location", "Retry-After", "Deduplicated"),
    "PUT /v1/documents/{document_id}/content": ("Location", "Retry-After", "Deduplicated"),
    "POST /v1/documents/{document_id}/retry": ("Retry-After",),
    "GET /v1/documents/{document_id}": ("ETag", "Cache-Control", "Retry-After", "Preference-Applied"),
    "GET /v1/documents/{document_id}/content": ("Content-Disposition",),
    "GET /v1/documents/{document_id}/pages/{page}/image": ("ETag", "Cache-Control"),
}

FILTER = (
    f"A condition, or up to {filters.MAX_CONDITIONS} in `and` or `or`, nested at most {filters.MAX_DEPTH} deep. "
    "The key is `filename`, `media_type`, `created_at`, `page`, `attributes.X` or `metadata.X`. Any other key X means "
    "the attribute X or, without it, the metadata key X. Only `in` and `nin` have a list as their value."
)


def complete(document: OpenAPI) -> None:
    """Add shared errors, headers and examples to Litestar's document."""
    _forbid_unknown_fields(document)
    _require_one_text(document)
    _describe_filters(document)
    _bound_attributes(document)
    for schema in (document.components.schemas or {}).values():
        _merge_numbers(schema)
    for path, item in (document.paths or {}).items():
        for method, operation in _find_operations(item):
            name = f"{method.upper()} {path}"
            _add_problems(operation)
            _add_examples(name, operation)
            _add_headers(name, operation)


def _find_operations(item: PathItem) -> Iterator[tuple[str, Operation]]:
    for method in METHODS:
        operation = getattr(item, method)
        if operation is not None:
            yield method, operation


def _forbid_unknown_fields(document: OpenAPI) -> None:
    """Declare that the bodies of `api.schemas` have no other fields. Litestar omits this."""
    bodies = {
        name
        for name, kind in vars(schemas).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.forbid_unknown_fields
    }
    for name, schema in (document.components.schemas or {}).items():
        if isinstance(schema, Schema) and name in bodies:
            schema.additional_properties = False


def _require_one_text(document: OpenAPI) -> None:
    """Declare that searches and questions have either `query` or `question`."""
    for body in (schemas.SearchRequest, schemas.AskRequest):
        schema = (document.components.schemas or {})[body.__name__]
        schema.one_of = [Schema(required=["query"]), Schema(required=["question"])]


def _merge_numbers(schema: Schema | Reference) -> None:
    """Describe a value that is an integer or another number as a number. Otherwise, integers would be both."""
    if not isinstance(schema, Schema):
        return
    kinds = [part.type for part in schema.one_of or () if isinstance(part, Schema)]
    if schema.one_of and OpenAPIType.NUMBER in kinds and OpenAPIType.INTEGER in kinds:
        schema.one_of = [
            part for part in schema.one_of if not (isinstance(part, Schema) and part.type == OpenAPIType.INTEGER)
        ]
    for part in (*(schema.properties or {}).values(), *(schema.one_of or ()), schema.additional_properties):
        if isinstance(part, Schema):
            _merge_numbers(part)


def _bound_attributes(document: OpenAPI) -> None:
    """Declare the bounds of attributes. Litestar omits those of keys and of values."""
    draft = (document.components.schemas or {})[schemas.MembershipDraft.__name__]
    field = (draft.properties or {})["attributes"]
    for attributes in (field.one_of if isinstance(field, Schema) else None) or ():
        if not (isinstance(attributes, Schema) and isinstance(attributes.additional_properties, Schema)):
            continue  # null
        attributes.max_properties = schemas.MAX_ATTRIBUTES
        key = Schema(min_length=1, max_length=schemas.MAX_ATTRIBUTE_KEY_CHARACTERS, pattern=schemas.NO_NUL)
        attributes.property_names = key
        for value in attributes.additional_properties.one_of or ():
            if isinstance(value, Schema) and value.type == OpenAPIType.STRING:
                value.max_length, value.pattern = schemas.MAX_ATTRIBUTE_CHARACTERS, schemas.NO_NUL


def _describe_filters(document: OpenAPI) -> None:
    """Add the filter language, which Litestar sees as any object."""
    components = document.components.schemas or {}
    this = Reference(ref="#/components/schemas/Filter")
    for body in (schemas.SearchRequest, schemas.AskRequest):
        schema = components[body.__name__]
        (schema.properties or {})["filter"] = Schema(one_of=[this, Schema(type=OpenAPIType.NULL)])
    scalars = [Schema(type=kind) for kind in (OpenAPIType.STRING, OpenAPIType.NUMBER, OpenAPIType.BOOLEAN)]
    values = Schema(type=OpenAPIType.ARRAY, items=Schema(one_of=scalars), min_items=1, max_items=filters.MAX_LIST)
    condition = Schema(
        properties={
            "key": Schema(type=OpenAPIType.STRING, min_length=1, max_length=filters.MAX_KEY_CHARACTERS),
            "op": Schema(type=OpenAPIType.STRING, enum=list(Operator)),
            "value": Schema(one_of=[*scalars, values]),
        },
        required=["key", "op"],
    )
    parts = Schema(type=OpenAPIType.ARRAY, items=this, min_items=1, max_items=filters.MAX_CONDITIONS)
    groups = [Schema(properties={name: parts}, required=[name]) for name in ("and", "or")]
    for schema in (condition, *groups):
        schema.type, schema.additional_properties = OpenAPIType.OBJECT, False
    components["Filter"] = Schema(title="Filter", description=FILTER, one_of=[condition, *groups])


def _add_problems(operation: Operation) -> None:
    """Add the errors that all operations, or all with a body, may return. Remove 400: `api.errors` sends 422."""
    responses = operation.responses = operation.responses or {}
    responses.pop("400", None)
    statuses = (408, 413, 422, 500) if operation.request_body else (500,)
    if operation.security is None:
        statuses = (*statuses, 403)  # an API key may lack the scope
    for status in statuses:
        spec = problems(status)[status]
        problem = OpenAPIMediaType(schema=Reference(ref="#/components/schemas/Problem"))
        responses.setdefault(str(status), OpenAPIResponse(description=spec.description, content={PROBLEM: problem}))
    operation.responses = dict(sorted(responses.items()))


def _add_examples(name: str, operation: Operation) -> None:
    for parameter in operation.parameters or ():
        if isinstance(parameter, Parameter) and parameter.required:
            parameter.example = PARAMETERS.get(parameter.name)
    if isinstance(operation.request_body, RequestBody):
        for media_type, body in operation.request_body.content.items():
            body.example = UPLOAD if media_type == "multipart/form-data" else find_example(_name_type(body))
    for status, response in _find_responses(operation):
        for media_type, body in (response.content or {}).items():
            if media_type == PROBLEM:
                found = find_problems(name, status)
                body.examples = {code: Example(summary=code, value=problem) for code, problem in found.items()}
            else:
                body.example = find_example(_name_type(body), status) or TEXTS.get(name)


def _add_headers(name: str, operation: Operation) -> None:
    is_limited = "rate_limited" in find_problems(name, 429) and "429" in (operation.responses or {})
    for status, response in _find_responses(operation):
        headers = ["X-Request-Id", *HEADERS_OF_STATUS.get(status, ())]
        if status < 400:
            headers += HEADERS_OF_SUCCESS.get(name, ())
        if is_limited and status not in (401, 500):
            headers += ("RateLimit", "RateLimit-Policy")
        response.headers = {header: _describe_header(header) for header in headers}


def _describe_header(name: str) -> OpenAPIHeader:
    description, example = HEADERS[name]
    kind = OpenAPIType.INTEGER if isinstance(example, int) else OpenAPIType.STRING
    return OpenAPIHeader(schema=Schema(type=kind), description=description, example=example)


def _find_responses(operation: Operation) -> Iterator[tuple[int, OpenAPIResponse]]:
    for status, response in (operation.responses or {}).items():
        if isinstance(response, OpenAPIResponse):
            yield int(status), response


def _name_type(body: OpenAPIMediaType) -> str:
    """Return the schema name of a body, or an empty string if it has no named schema."""
    return body.schema.ref.rsplit("/", 1)[1] if isinstance(body.schema, Reference) else ""
