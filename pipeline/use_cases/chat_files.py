"""Files of LibreChat. Each of its users and agents has an account here, in which nobody logs in.

LibreChat chooses the ids of its files. A file is a collection with this name, which contains the document. An account
stores the same bytes once, so two files may have the same document.
"""

import secrets
from collections.abc import Collection as Ids
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic
from uuid import UUID, uuid5

from sqlalchemy.exc import IntegrityError

from pipeline.db import audit, users
from pipeline.errors import Conflict, NotFound
from pipeline.runtime import Runtime
from pipeline.types import (
    Caller,
    Collection,
    CollectionDocument,
    Document,
    Passage,
    ReceivedFile,
    Selection,
    Status,
    Subject,
    SubjectKind,
    UploadDetails,
)
from pipeline.use_cases import collections, documents
from pipeline.use_cases.accounts import UNKNOWN_HASH
from pipeline.use_cases.search import MAX_QUESTION_CHARACTERS, search

NAMESPACE = UUID("edc69f4b-8bec-4cdb-994f-59c662620122")
"""Namespace of the ids of these accounts. Nobody can choose the id of another account."""
STORE_SECONDS = 300.0
"""Time limit for reading a file. LibreChat waits for the whole time."""
FILENAME = "filename"
"""Attribute with the name of the file. The document may have got another name with its first upload."""
AGENT = "entity_id"
"""Key in the metadata of a collection: the agent for which a user has stored the file with this name."""
MAX_MEMBERS = 100


class OwnerKind(StrEnum):
    """Whom files belong to."""

    USER = "user"
    ENTITY = "entity"
    """An agent, which LibreChat calls an entity. All who may use the agent read its files."""


@dataclass(frozen=True, slots=True)
class FileOwner:
    """A user or an agent, by the id in LibreChat."""

    kind: OwnerKind
    name: str

    @property
    def caller(self) -> Caller:
        """The account. It is made for the first file."""
        return Caller(uuid5(NAMESPACE, f"{self.kind}:{self.name}"))


async def store(runtime: Runtime, owner: FileOwner, file_id: str, received: ReceivedFile) -> UUID:
    """Store a file in the place of the one with the same id. Return the id of its document.

    Raises the errors of `documents.upload`, and Conflict if the owner has too many files.
    """
    await _ensure_account(runtime, owner)
    collection = await _open_collection(runtime, owner.caller, file_id)
    details = UploadDetails(collection_ids=[collection.id], attributes={FILENAME: received.filename})
    document, _ = await documents.upload(runtime, owner.caller, received, details)
    await _delete_replaced(runtime, owner.caller, collection.id)
    return document.id


async def wait(
    runtime: Runtime, owner: FileOwner, file_id: str, document_id: UUID, seconds: float = STORE_SECONDS
) -> str | None:
    """Wait until a file can be searched. Return None, or the reason if it cannot be read, or is not read in time.

    Then LibreChat forgets the file, so it is deleted.
    """
    problem = await _wait(runtime, owner.caller, document_id, seconds)
    if problem is not None:
        await forget(runtime, owner, file_id, document_id)
    return problem


async def forget(runtime: Runtime, owner: FileOwner, file_id: str, document_id: UUID) -> None:
    """Delete what was stored of a file that LibreChat takes for not stored, but not what has replaced it."""
    collection = await _find(runtime, owner.caller, file_id)
    if collection is None:
        return
    with suppress(NotFound):
        await documents.delete(runtime, _bind(owner.caller, collection.id), document_id)
    with suppress(NotFound):
        if not await _list_members(runtime, owner.caller, collection.id):
            await collections.delete(runtime, owner.caller, collection.id, delete_contents=True)


async def _ensure_account(runtime: Runtime, owner: FileOwner) -> None:
    """Create the account, unless it exists or another request has just created it.

    Nobody can take its address before, because it is random.
    """
    caller = owner.caller
    with suppress(IntegrityError):
        async with runtime.database.transaction(caller) as session:
            if await users.find(session, caller.owner_id):
                return
            email = f"{secrets.token_hex(16)}@librechat.invalid"
            await users.add(session, caller.owner_id, email, UNKNOWN_HASH)
            details = {"email": email, f"librechat_{owner.kind}": owner.name}
            await audit.record(session, audit.Event.REGISTER, caller, details)


async def _open_collection(runtime: Runtime, caller: Caller, file_id: str) -> Collection:
    """Return the collection of this file. Create it unless there is one."""
    if found := await _find(runtime, caller, file_id):
        return found
    try:
        return await collections.create(runtime, caller, name=file_id, description="", metadata={})
    except Conflict:
        if found := await _find(runtime, caller, file_id):  # another request has just created it
            return found
        raise


async def _find(runtime: Runtime, caller: Caller, file_id: str) -> Collection | None:
    with suppress(NotFound):
        return await collections.find_by_name(runtime, caller, file_id)
    return None


async def _delete_replaced(runtime: Runtime, caller: Caller, collection_id: UUID) -> None:
    """Leave only the newest document in the collection. Those that are in no other one are deleted.

    Of several uploads at once, each keeps the same document, whichever ends last.
    """
    for replaced in (await _list_members(runtime, caller, collection_id))[1:]:
        with suppress(NotFound):
            await documents.delete(runtime, _bind(caller, collection_id), replaced.document.id)


def _bind(caller: Caller, collection_id: UUID) -> Caller:
    """Return a caller who deletes a document only if no other collection has it, and else takes it out of this one."""
    return replace(caller, collection_ids=frozenset({collection_id}))


async def _list_members(runtime: Runtime, caller: Caller, collection_id: UUID) -> list[CollectionDocument]:
    """Return the documents of a collection, the one that was put there last first."""
    page = await collections.list_documents(runtime, caller, collection_id, limit=MAX_MEMBERS, cursor=None)
    return sorted(page.items, key=lambda member: (member.added_at, member.document.id), reverse=True)


async def _wait(runtime: Runtime, caller: Caller, document_id: UUID, seconds: float) -> str | None:
    """Wait until the document is ready. Return None, or the reason why it is not."""
    deadline = monotonic() + seconds
    try:
        while True:
            left = deadline - monotonic()
            document = await documents.wait_for_change(runtime, caller, document_id, left)
            if document.status.is_terminal or left <= 0:
                return _explain(document, seconds)
    except NotFound:
        return "The file was replaced or deleted before it was read."


def _explain(document: Document, seconds: float) -> str | None:
    if document.status == Status.READY:
        return None
    if document.error:
        return document.error.message
    return f"The file was not read within {seconds:g} seconds, so it is not stored. Send it again later."


async def find_passages(
    runtime: Runtime, owner: FileOwner, file_id: str, query: str, count: int
) -> list[tuple[Passage, str]]:
    """Return the best passages of a file, best first, each with the name of the file.

    The query may be a whole message, so only its beginning counts if it is long. An unknown file has no passages, and
    a message without a word finds none.
    """
    caller, query = owner.caller, query[:MAX_QUESTION_CHARACTERS]
    collection = await _find(runtime, caller, file_id) if any(map(str.isalnum, query)) else None
    if collection is None:
        return []
    found = await search(runtime, caller, query, top_k=count, selection=Selection([collection.id]))
    subjects = [
        Subject(caller.owner_id, SubjectKind.DOCUMENT, passage.document_id) for passage in found if passage.document_id
    ]
    attributes = await collections.read_attributes(runtime, caller, collection.id, subjects)
    names = {document_id: str(said[FILENAME]) for document_id, said in attributes.items() if FILENAME in said}
    pairs = [(passage, names.get(passage.document_id, passage.title)) for passage in found if passage.document_id]
    return sorted(pairs, key=lambda pair: pair[0].score, reverse=True)


async def read_text(runtime: Runtime, owner: FileOwner, file_id: str) -> str:
    """Return the text of a file, at most as much as `documents.read_text` returns at once.

    Raises NotFound.
    """
    collection = await _find(runtime, owner.caller, file_id)
    for member in await _list_members(runtime, owner.caller, collection.id) if collection else ():
        return (await documents.read_text(runtime, owner.caller, member.document.id, 0, None)).text
    raise _no_such_file()


async def note_agent(runtime: Runtime, user: FileOwner, file_id: str, agent: FileOwner) -> None:
    """Note that the user has stored a file of an agent. LibreChat does not name the agent when the user deletes it."""
    await _ensure_account(runtime, user)
    collection = await _open_collection(runtime, user.caller, file_id)
    await collections.change(runtime, user.caller, collection.id, metadata={AGENT: agent.name})


async def delete(runtime: Runtime, owner: FileOwner, file_ids: Ids[str]) -> None:
    """Delete these files, and their documents unless another file has them.

    Files that a user has stored for an agent are deleted there, too. Raises NotFound if none of them exists.
    """
    is_known = False
    for file_id in file_ids:
        if collection := await _find(runtime, owner.caller, file_id):
            is_known = True
            if agent := collection.metadata.get(AGENT):
                with suppress(NotFound):
                    await delete(runtime, FileOwner(OwnerKind.ENTITY, agent), [file_id])
            with suppress(NotFound):  # another request has just deleted it
                await collections.delete(runtime, owner.caller, collection.id, delete_contents=True)
    if not is_known:
        raise _no_such_file()


def _no_such_file() -> NotFound:
    return NotFound("This file does not exist. Check its id.")
