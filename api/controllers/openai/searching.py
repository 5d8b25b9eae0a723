"""What searches in vector stores and responses share: filters, ranking options, and attributes of what was found."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from api.controllers.openai.refusals import refuse
from pipeline import filters
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Caller, Filter, Passage, Subject
from pipeline.use_cases import collections


class RankingOptions(msgspec.Struct, forbid_unknown_fields=True):
    """The score below which passages are left out. All rankers mean ours."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


def read_threshold(options: RankingOptions | None) -> float:
    """Return the score below which passages are left out."""
    return (options.score_threshold if options else None) or 0.0


def read_filters(given: Mapping[str, Any] | None) -> Filter | None:
    """Return filters in OpenAI's words as a filter. Their keys are attributes.

    Raises InvalidInput if they are invalid.
    """
    return None if given is None else filters.decode(_translate(given, 0), "filters")


def _translate(given: object, depth: int) -> object:
    match given:
        case {"type": "and" | "or" as kind, "filters": [*parts], **rest} if not rest and depth < filters.MAX_DEPTH:
            return {kind: [_translate(part, depth + 1) for part in parts]}
        case {"type": str() as operator, "key": str() as key, "value": value, **rest} if not rest:
            return {"key": f"attributes.{key}", "op": operator, "value": value}
        case _:
            raise refuse("filters", "has something else than comparisons, `and` and `or`")


def identify(passage: Passage) -> UUID:
    """Return the id of the document or note of a passage."""
    return next(each for each in (passage.document_id, passage.note_id) if each)


async def read_attributes(
    runtime: Runtime, caller: Caller, collection_ids: Sequence[UUID], passages: Collection[Passage]
) -> dict[UUID, Attributes]:
    """Return the attributes of what was found, in the first of the collections that has it."""
    subjects = {Subject(caller.owner_id, passage.source, identify(passage)) for passage in passages}
    found: dict[UUID, Attributes] = {}
    for collection_id in collection_ids:
        missing = [subject for subject in subjects if subject.id not in found]
        found |= await collections.read_attributes(runtime, caller, collection_id, missing)
    return found
