"""Invitations: the operator makes a link, and one person registers with it."""

import secrets
from datetime import timedelta

from pipeline.db import audit, invitations
from pipeline.db.session import Database

SECRET_BYTES = 32


async def invite(database: Database, url: str, lifetime: timedelta) -> str:
    """Create an invitation and return its link. For the operator.

    The secret is in the fragment of the URL, which browsers do not send. It cannot be shown again.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    async with database.transaction() as session:
        invitation_id = await invitations.add(session, secret, lifetime)
        await audit.record(session, audit.Event.INVITED, None, {"invitation_id": str(invitation_id)})
    return f"{url.rstrip('/')}/#invite={secret}"
