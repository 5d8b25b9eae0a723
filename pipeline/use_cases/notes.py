"""Notes: create, read, change and delete."""

from collections.abc import Collection
from functools import partial
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from pipeline.db import access, queue
from pipeline.db.storage import Stored
from pipeline.errors import AccountGone
from pipeline.runtime import Runtime
from pipeline.types import Caller, Note, NoteList, Subject, SubjectKind, new_id
from pipeline.use_cases import collections, quotas, status_changes


async def create(
    runtime: Runtime, caller: Caller, title: str, body: str, *, collection_ids: Collection[UUID] = ()
) -> Note:
    """Store a note in these collections, and queue it for indexing.

    Raises InvalidInput if the owner has no such collection, AccountGone if the owner's account was deleted,
    TooManyRequests if the owner has too much unfinished work, QuotaExceeded if the owner would store too much.
    """
    note_id = new_id()
    collection_ids = collections.choose(caller, collection_ids, "collection_ids")
    try:
        async with runtime.database.transaction(caller) as session:
            await collections.require_all(session, caller.owner_id, collection_ids, "collection_ids")
            await quotas.require_room(session, runtime.settings, caller.owner_id, size_bytes=0)
            await access.add_note(session, caller.owner_id, note_id, title, body)
            subject = Subject(caller.owner_id, SubjectKind.NOTE, note_id)
            await collections.put_into(session, subject, collection_ids, None)
            await queue.enqueue(session, subject, size_bytes=0)
            note = await access.get_note(session, caller.owner_id, note_id)
            await quotas.require_storage(session, runtime.settings, caller, Stored(1, _measure(body)))
    except IntegrityError:
        raise AccountGone from None
    await runtime.doorbell.ring(note_id)
    return note


async def get(runtime: Runtime, caller: Caller, note_id: UUID) -> Note:
    """Return the owner's note.

    Raises NotFound if the owner has no such note.
    """
    async with runtime.database.transaction(caller) as session:
        return await access.get_note(session, caller.owner_id, note_id)


async def wait_for_change(runtime: Runtime, caller: Caller, note_id: UUID, seconds: float) -> Note:
    """Return the note when the status of its indexing changes, or after `seconds`. Return a terminal note at once.

    Raises NotFound, also if the note is deleted meanwhile.
    """
    return await status_changes.wait(runtime, note_id, partial(get, runtime, caller, note_id), seconds)


async def list_page(runtime: Runtime, caller: Caller, *, limit: int, cursor: str | None) -> NoteList:
    """Return a page of the owner's notes, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await access.list_notes(session, caller.owner_id, limit=limit, cursor=cursor)


async def change(runtime: Runtime, caller: Caller, note_id: UUID, *, title: str | None, body: str | None) -> Note:
    """Replace the title, the body or both. Searches find the old passages until the new ones are ready.

    Raises NotFound if the owner has no such note, QuotaExceeded if the owner would store too much.
    """
    texts = {name: text for name, text in (("title", title), ("body", body)) if text is not None}
    async with runtime.database.transaction(caller) as session:
        subject = Subject(caller.owner_id, SubjectKind.NOTE, note_id)
        await queue.lock_subject(session, subject)
        note = old = await access.get_note(session, caller.owner_id, note_id)
        if texts:
            await queue.discard(session, subject)
            await access.change_note(session, caller.owner_id, note_id, **texts)
            await queue.renew(session, subject, size_bytes=0)
            note = await access.get_note(session, caller.owner_id, note_id)
            growth = Stored(0, _measure(note.body) - _measure(old.body))
            await quotas.require_storage(session, runtime.settings, caller, growth)
    if texts:
        await runtime.doorbell.ring(note_id)
    return note


async def delete(runtime: Runtime, caller: Caller, note_id: UUID) -> None:
    """Delete the note with its chunks, whatever its status.

    A caller that is bound to collections only takes it out of them if it is in others, too. Raises NotFound if the
    caller has no such note.
    """
    async with runtime.database.transaction(caller) as session:
        await collections.delete_subject(session, caller, Subject(caller.owner_id, SubjectKind.NOTE, note_id))


def _measure(body: str) -> int:
    """Return the size of a note's body, as `Note.size_bytes` in the database."""
    return len(body.encode())
