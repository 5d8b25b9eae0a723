"""Answer a question from passages: a language model writes the answer, or the best sentences are quoted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pipeline import metrics
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.errors import AnswerUnavailable
from pipeline.llm.client import LanguageModel
from pipeline.runtime import Runtime
from pipeline.stages.citations import CitationCheck, cite
from pipeline.stages.prompt import build_condensing_prompt, build_prompt
from pipeline.stages.quotations import Quotation, choose, list_candidates, may_answer
from pipeline.types import EVERYTHING, Answer, Caller, Passage, Piece, Selection, Turn
from pipeline.use_cases.search import MAX_QUESTION_CHARACTERS, search

EXTRACTIVE = "extractive"
"""Model name of an answer that no language model wrote."""
REFUSAL = "The documents do not answer this question."
"""Text of an answer without a language model if nothing is found, or nothing that answers the question."""


@dataclass(frozen=True)
class Draft:
    """An unfinished answer: the passages, and the text in pieces as it arrives. Closing `pieces` cancels the rest."""

    passages: list[Passage]
    model: str
    pieces: AsyncGenerator[Piece]
    question: str
    """The question that is answered: as it was asked, or as it follows from the conversation."""

    def complete(self, pieces: Sequence[Piece]) -> Answer:
        """Return the answer made of all these pieces."""
        text = "".join(piece.text for piece in pieces)
        citations = [citation for piece in pieces for citation in piece.citations]
        return Answer(text, citations, self.passages, self.model)

    async def finish(self) -> Answer:
        """Wait for the whole answer and return it.

        Raises the errors of `pieces`.
        """
        async with aclosing(self.pieces) as pieces:
            return self.complete([piece async for piece in pieces])


async def ask(
    runtime: Runtime,
    caller: Caller,
    question: str,
    *,
    top_k: int,
    selection: Selection = EVERYTHING,
    min_score: float = 0.0,
    has_details: bool = False,
    history: Sequence[Turn] = (),
    wishes: str = "",
) -> Draft:
    """Find the passages for a question. The answer is made while the draft's `pieces` are read.

    Passages with a score below `min_score` are left out.
    If there is a language model, the question may refer to the `history` of the conversation, and the model is told the
    user's `wishes` for the answer.

    Raises the errors of `search`. The pieces raise AnswerUnavailable, with the passages, if the language model fails.
    If no language model is set, they raise the errors of the encoder.
    """
    if history and runtime.llm:
        question = await _condense(runtime.llm, history, question, runtime.settings.llm_prompt_characters)
    passages = await search(
        runtime,
        caller,
        question,
        top_k=top_k,
        selection=selection,
        min_score=min_score,
        has_details=has_details,
    )
    if not passages or (runtime.llm is None and not may_answer(passages)):
        return Draft(passages, EXTRACTIVE, _say_nothing_found(), question)
    if runtime.llm is None:
        return Draft(passages, EXTRACTIVE, _quote(runtime.encoder, question, passages), question)
    pieces = _write(runtime.llm, question, passages, runtime.settings.llm_prompt_characters, wishes)
    return Draft(passages, runtime.llm.name, pieces, question)


async def _condense(llm: LanguageModel, history: Sequence[Turn], question: str, max_characters: int) -> str:
    """Return one question that is understood without the conversation, or the question itself if the model fails."""
    prompt = build_condensing_prompt(history, question, max_characters=max_characters)
    written = ""
    try:
        async with aclosing(llm.write(prompt)) as texts:
            async for text in texts:
                written += text
    except AnswerUnavailable:
        return question  # the model is asked again for the answer, and that failure is reported with the passages
    condensed = written.strip().replace("\0", "")[:MAX_QUESTION_CHARACTERS]
    return condensed if any(map(str.isalnum, condensed)) else question


async def _say_nothing_found() -> AsyncGenerator[Piece]:
    yield _refuse()


def _refuse() -> Piece:
    metrics.ANSWERS.labels("nothing_found").inc()
    return Piece(REFUSAL)


async def _quote(encoder: TextEncoder, question: str, passages: Sequence[Passage]) -> AsyncGenerator[Piece]:
    quotations = await _find_quotations(encoder, question, passages)
    if not quotations:
        yield _refuse()
        return
    separator, length = "", 0
    for quotation in quotations:
        text = f"{separator}“{quotation.text}” "
        mark = cite(quotation.passage + 1, passages[quotation.passage], length + len(text))
        yield Piece(text + mark.text, mark.citations)
        separator, length = "\n", length + len(text) + len(mark.text)
    metrics.ANSWERS.labels("quoted").inc()


async def _find_quotations(encoder: TextEncoder, question: str, passages: Sequence[Passage]) -> list[Quotation]:
    candidates = await asyncio.to_thread(list_candidates, question, passages)
    if not candidates:
        return []
    [asked], sentences = await asyncio.gather(
        encoder.encode([question], Purpose.QUERY),
        encoder.encode([candidate.text for candidate in candidates], Purpose.DOCUMENT),
    )
    return choose(candidates, sentences, asked, passages)


async def _write(
    llm: LanguageModel, question: str, passages: Sequence[Passage], max_characters: int, wishes: str
) -> AsyncGenerator[Piece]:
    prompt = await asyncio.to_thread(build_prompt, question, passages, max_characters=max_characters, wishes=wishes)
    check = CitationCheck(passages[: prompt.passages])
    is_empty = True
    try:
        async with aclosing(llm.write(prompt)) as texts:
            async for text in texts:
                piece = check.feed(text)
                if piece.text:
                    is_empty = is_empty and piece.text.isspace()
                    yield piece
        last = check.finish()
        if is_empty and not last.text.strip():
            raise AnswerUnavailable(
                "The language model gave an empty answer. Try again. The passages that were found are in `passages`."
            )
        if last.text:
            yield last
        metrics.ANSWERS.labels("written").inc()
    except AnswerUnavailable as error:
        metrics.ANSWERS.labels("failed").inc()
        error.passages = passages
        raise
    finally:
        metrics.UNKNOWN_CITATIONS.inc(check.unknown)
