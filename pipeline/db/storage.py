"""What an account stores: the number and the size of its documents and notes."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, Select, cast, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Document, Note


@dataclass(frozen=True, slots=True)
class Stored:
    """Number of documents and notes, and the bytes of the original files and of the notes' bodies."""

    count: int
    bytes: int

    def __add__(self, other: "Stored") -> "Stored":
        return Stored(self.count + other.count, self.bytes + other.bytes)


async def lock(session: AsyncSession, owner_id: UUID) -> None:
    """Let no other transaction that calls this add to what the owner stores, until this one ends.

    It is the last lock in the order that `queue` defines. An advisory lock, because a lock on the row of the account
    would also stop logins.
    """
    key = int.from_bytes(owner_id.bytes[-8:], signed=True)  # the last 62 bits of a UUIDv7 are random
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def measure(session: AsyncSession, owner_id: UUID) -> Stored:
    """Measure what the owner stores, including what this transaction has changed. It reads indexes only."""
    parts = union_all(_measure(Document, owner_id), _measure(Note, owner_id)).subquery()
    query = select(func.sum(parts.c.number), func.sum(parts.c.bytes))
    count, size_bytes = (await session.execute(query)).one()
    return Stored(int(count), int(size_bytes))


def _measure(model: type[Document] | type[Note], owner_id: UUID) -> Select[int, int]:
    total = cast(func.coalesce(func.sum(model.size_bytes), 0), BigInteger)
    return select(func.count().label("number"), total.label("bytes")).where(model.owner_id == owner_id)


async def may_have(session: AsyncSession, owner_id: UUID, smallest: int, largest: int) -> bool:
    """Return whether the owner has a document of `smallest` to `largest` bytes, or one with an external id."""
    fits = exists().where(Document.owner_id == owner_id, Document.size_bytes.between(smallest, largest))
    has_external_id = exists().where(Document.owner_id == owner_id, Document.external_id.is_not(None))
    return bool(await session.scalar(select(fits | has_external_id)))
