"""Invitations to register. Only the hash of an invitation's secret is stored."""

import hashlib
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Uuid, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Invitation
from pipeline.types import new_id


async def add(session: AsyncSession, secret: str, lifetime: timedelta) -> UUID:
    """Insert an invitation, delete those that have expired, and return its id. For the owner of the tables."""
    invitation_id = new_id()
    now = func.clock_timestamp()
    await session.execute(delete(Invitation).where(Invitation.expires_at < now))
    await session.execute(
        insert(Invitation).values(id=invitation_id, secret_sha256=_hash(secret), expires_at=now + lifetime)
    )
    return invitation_id


async def redeem(session: AsyncSession, secret: str) -> UUID | None:
    """Use up an invitation and return its id. Return None if it does not exist, was used before or has expired.

    If the transaction is rolled back, the invitation can still be used.
    """
    invitation_id: UUID | None = await session.scalar(select(func.sluice_redeem_invitation(_hash(secret), type_=Uuid)))
    return invitation_id


def _hash(secret: str) -> bytes:
    # The secret is random and long, so it needs no slow hash.
    return hashlib.sha256(secret.encode()).digest()
