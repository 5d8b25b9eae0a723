"""What chats and responses share: messages of a conversation, and the pieces of an answer."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from api.auth import UserRequest, work_while_current
from api.controllers.openai.refusals import refuse
from pipeline.types import Piece, Speaker, Turn
from pipeline.use_cases.search import MAX_QUESTION_CHARACTERS, require_word

TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of the parts of a message that are text."""
INSTRUCTING = ("system", "developer")
"""Roles whose messages are wishes for the answer."""
PASSAGES = 8
"""Number of passages that an answer is made from."""


class Part(msgspec.Struct):
    """A part of a message."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """A message of a conversation. Clients send earlier answers back with fields that do not matter here."""

    role: str
    content: str | list[Part] | None = None


@dataclass(frozen=True)
class Conversation:
    """The question, what was said before, and the wishes for the answer."""

    question: str
    history: Sequence[Turn]
    wishes: str

    @property
    def text(self) -> str:
        """All that was said, to estimate its tokens."""
        return "".join([self.wishes, *(turn.content for turn in self.history), self.question])


def read_conversation(messages: Sequence[Message], field: str, wishes: str | None = None) -> Conversation:
    """Return the conversation. The last message is the question.

    Raises InvalidInput if it cannot be answered, and names the field of the request.
    """
    if not messages or messages[-1].role != Speaker.USER:
        raise refuse(field, "does not end with a message of the user")
    texts = [(message.role, _read_text(message, field)) for message in messages]
    unknown = {role for role, _ in texts} - {*Speaker, *INSTRUCTING}
    if unknown:
        raise refuse(field, f"has messages of the role `{min(unknown)}`")
    question = texts[-1][1]
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise refuse(field, f"ends with a message of more than {MAX_QUESTION_CHARACTERS} characters")
    require_word(question, field)
    given = [text for role, text in texts if role in INSTRUCTING]
    history = [Turn(Speaker(role), text) for role, text in texts[:-1] if role in (*Speaker,)]
    return Conversation(question, history, "\n".join([wishes, *given] if wishes else given))


def _read_text(message: Message, field: str) -> str:
    if isinstance(message.content, list):
        other = [part.type for part in message.content if part.type not in TEXT_PARTS or part.text is None]
        if other:
            raise refuse(field, f"has a part of the type `{other[0]}`, which is not text")
        text = "\n".join(part.text or "" for part in message.content)
    else:
        text = message.content or ""
    if "\0" in text:
        raise refuse(field, "has a NUL")
    return text


async def continue_answer(
    request: UserRequest, pieces: AsyncGenerator[Piece], first: Piece | None
) -> AsyncGenerator[Piece]:
    """Yield the first piece of an answer, which the caller has awaited, and the others.

    Raises the errors of `work_while_current` and of the pieces.
    """
    async with aclosing(pieces):
        piece = first
        while piece:
            yield piece
            piece = await work_while_current(request, anext(pieces, None))


def count_tokens(text: str) -> int:
    """Return about how many tokens a text has. It is an estimate: language models count differently."""
    return -(-len(text) // 4)
