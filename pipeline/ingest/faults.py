"""Faults at a named stage, for tests. `FAULT_HOOK` turns them on."""

import asyncio
import os
import signal
import time

from pipeline.settings import SettingsError
from pipeline.types import Lease, OnStage, Stage

ACTIONS = ("pause", "crash", "raise", "hang", "block")
BLOCK_SECONDS = 6.0


def make_fault(spec: str | None) -> OnStage | None:
    """Return a hook for `stage:action`, or for `stage:action:id`, which affects only one document or note.

    Actions: `pause` stops the process (SIGSTOP), `crash` kills it, `raise` raises an unforeseen error, `hang` waits
    forever, `block` blocks the event loop for 6 s. Without a `spec` there is no hook. Raises SettingsError if the spec
    is not valid.
    """
    if not spec:
        return None
    stage_name, _, rest = spec.partition(":")
    action, _, subject_id = rest.partition(":")
    if stage_name not in list(Stage) or action not in ACTIONS:
        raise SettingsError(f"FAULT_HOOK must be one of {', '.join(Stage)}, a colon, and one of {', '.join(ACTIONS)}")

    async def fault(lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == stage_name and subject_id in ("", str(lease.subject.id)):
            await _act(action)

    return fault


async def _act(action: str) -> None:
    match action:
        case "raise":
            raise RuntimeError("fault on demand")
        case "hang":
            await asyncio.Event().wait()
        case "block":
            time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251 - blocking the loop is the point
        case "pause":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
