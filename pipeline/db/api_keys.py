"""API keys. Only a hash of a key's secret is stored, and the service cannot read it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Double,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import models
from pipeline.db.access import read_page
from pipeline.db.direct import DirectConnection
from pipeline.types import ApiKey, ApiKeyList, Caller, KeyDraft, KeyGrant, Scope

USE_INTERVAL = timedelta(minutes=1)
"""Least time between two writes of the last use of a key."""

_FOUND = func.sluice_find_api_key(bindparam("digest", type_=LargeBinary)).table_valued(
    column("owner_id", Uuid),
    column("id", Uuid),
    column("scopes", ARRAY(Text)),
    column("collection_ids", ARRAY(Uuid)),
    column("has_expired", Boolean),
    column("unused_seconds", Double),
)
_FIND = select(_FOUND)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key that exists, and whether its last use should be written."""

    grant: KeyGrant
    has_expired: bool
    is_use_due: bool


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 hash of a secret.

    A slow hash with a salt, as for passwords, would protect nothing more: a secret has 256 random bits, so nobody can
    guess it from its hash. It would cost every request 50 ms, and a key could not be found by its hash.
    """
    return hashlib.sha256(secret.encode()).digest()


async def find(connection: DirectConnection, digest: bytes) -> FoundKey | None:
    """Return the key whose secret has this hash. The account need not be known, and only this key is seen."""
    rows = await connection.execute(_FIND, {"digest": digest})
    if not rows:
        return None
    (row,) = rows
    collection_ids = None if row.collection_ids is None else frozenset(row.collection_ids)
    return FoundKey(
        KeyGrant(Caller(row.owner_id, row.id, collection_ids), frozenset(map(Scope, row.scopes))),
        row.has_expired,
        is_use_due=row.unused_seconds is None or row.unused_seconds >= USE_INTERVAL.total_seconds(),
    )


async def add(session: AsyncSession, owner_id: UUID, key_id: UUID, secret: str, draft: KeyDraft) -> ApiKey:
    """Insert a key and return it.

    Raises IntegrityError if the owner has no such collection.
    """
    rows = await session.scalars(
        insert(models.ApiKey)
        .values(
            owner_id=owner_id,
            id=key_id,
            name=draft.name,
            secret_sha256=hash_secret(secret),
            scopes=sorted(set(draft.scopes)),
            is_bound=draft.collection_ids is not None,
            expires_at=draft.expires_at,
        )
        .returning(models.ApiKey)
    )
    if draft.collection_ids:
        key = {"owner_id": owner_id, "api_key_id": key_id}
        bound = [{**key, "collection_id": collection_id} for collection_id in set(draft.collection_ids)]
        await session.execute(insert(models.ApiKeyCollection).values(bound))
    return (await _to_keys(session, rows.all()))[0]


async def count(session: AsyncSession, owner_id: UUID) -> int:
    """Return the number of the owner's keys."""
    query = select(func.count()).select_from(models.ApiKey).where(models.ApiKey.owner_id == owner_id)
    return (await session.scalars(query)).one()


async def find_by_id(session: AsyncSession, owner_id: UUID, key_id: UUID) -> ApiKey | None:
    """Return the owner's key with this id."""
    is_owned = (models.ApiKey.owner_id == owner_id, models.ApiKey.id == key_id)
    rows = (await session.scalars(select(models.ApiKey).where(*is_owned))).all()
    return next(iter(await _to_keys(session, rows)), None)


async def list_page(session: AsyncSession, owner_id: UUID, *, limit: int, cursor: str | None) -> ApiKeyList:
    """Return a page of the owner's keys, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    query = select(models.ApiKey).where(models.ApiKey.owner_id == owner_id)
    rows, next_cursor = await read_page(session, query, models.ApiKey.id, limit, cursor)
    return ApiKeyList(await _to_keys(session, rows), next_cursor)


async def note_use(session: AsyncSession, caller: Caller) -> None:
    """Write that the caller's key is used now, unless its last use was written less than a minute ago."""
    last, now = models.ApiKey.last_used_at, func.clock_timestamp()
    await session.execute(
        update(models.ApiKey)
        .where(models.ApiKey.owner_id == caller.owner_id, models.ApiKey.id == caller.key_id)
        .where(last.is_(None) | (last <= now - USE_INTERVAL))
        .values(last_used_at=now)
    )


async def revoke(session: AsyncSession, owner_id: UUID, key_id: UUID) -> str | None:
    """Delete the owner's key. Return its name, or None if it does not exist."""
    name: str | None = await session.scalar(
        delete(models.ApiKey)
        .where(models.ApiKey.owner_id == owner_id, models.ApiKey.id == key_id)
        .returning(models.ApiKey.name)
    )
    return name


async def revoke_all(session: AsyncSession, owner_id: UUID | None) -> list[Caller]:
    """Delete all keys of an account, or of all accounts, and return them. For the owner of the tables."""
    query = delete(models.ApiKey).returning(models.ApiKey.owner_id, models.ApiKey.id)
    if owner_id is not None:
        query = query.where(models.ApiKey.owner_id == owner_id)
    return [Caller(*row) for row in await session.execute(query)]


async def _to_keys(session: AsyncSession, rows: Sequence[models.ApiKey]) -> list[ApiKey]:
    """Return the keys of one owner with the collections to which they are bound, oldest first."""
    bound: dict[UUID, list[UUID]] = {row.id: [] for row in rows if row.is_bound}
    if bound:
        table = models.ApiKeyCollection
        query = select(table.api_key_id, table.collection_id)
        query = query.where(table.owner_id == rows[0].owner_id, table.api_key_id.in_(bound))
        for key_id, collection_id in await session.execute(query.order_by(table.collection_id)):
            bound[key_id].append(collection_id)
    return [
        ApiKey(
            id=row.id,
            name=row.name,
            scopes=[Scope(scope) for scope in row.scopes],
            collection_ids=bound.get(row.id),
            expires_at=row.expires_at,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
        )
        for row in rows
    ]
