"""Sessions that a browser keeps over a reload: begin, use and end them."""

from datetime import timedelta

from pipeline.db import audit, browser_sessions
from pipeline.errors import CannotWrite, SessionEnded
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.types import Caller, Identity, Refresh

GRACE = timedelta(seconds=30)
"""Time for which the token before the valid one is accepted. Two tabs may send the same one, and answers get lost."""

log = get_logger()


async def begin(runtime: Runtime, identity: Identity) -> Refresh | None:
    """Begin a session of an account that has just logged in. Return its first token.

    Return None if none can begin. The login itself counts all the same.
    """
    try:
        async with runtime.database.transaction(Caller(identity.user_id)) as session:
            return await browser_sessions.add(session, identity)
    except CannotWrite:
        log.warning("session.not_written", user_id=str(identity.user_id))
        return None


async def use(runtime: Runtime, refresh: Refresh, address: str) -> tuple[Identity, Refresh]:
    """Use a refresh token. Return whom to issue an access token for, and the refresh token that is valid now.

    Raises SessionEnded. A token that was used before ends the session, because somebody may have copied it.
    """
    is_reused = False
    async with runtime.database.transaction(Caller(refresh.owner_id)) as session:
        current = await browser_sessions.lock(session, refresh.owner_id, refresh.session_id)
        if current is None:
            raise SessionEnded
        valid = current.refresh
        if refresh.number == valid.number:
            valid = await browser_sessions.renew(session, valid)
        elif refresh.number != valid.number - 1 or current.age > GRACE:
            is_reused = True
            await browser_sessions.remove(session, refresh.owner_id, refresh.session_id)
            details = {"session_id": str(refresh.session_id), "address": address}
            await audit.record(session, audit.Event.SESSION_REUSED, Caller(refresh.owner_id), details)
    if is_reused:
        raise SessionEnded
    return Identity(refresh.owner_id, current.generation), valid


async def end(runtime: Runtime, refresh: Refresh, address: str) -> None:
    """End the session of a refresh token, also of one that was used before."""
    async with runtime.database.transaction(Caller(refresh.owner_id)) as session:
        if await browser_sessions.remove(session, refresh.owner_id, refresh.session_id):
            details = {"session_id": str(refresh.session_id), "address": address}
            await audit.record(session, audit.Event.LOGOUT, Caller(refresh.owner_id), details)
