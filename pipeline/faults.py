"""Faults on demand, at a named stage: for tests, and only where `FAULT_HOOK` asks for them."""

import asyncio
import os
import signal

from pipeline.settings import SettingsError
from pipeline.types import Lease, OnStage, Stage

ACTIONS = ("pause", "crash", "raise", "hang")


def make_fault(spec: str | None) -> OnStage | None:
    """Return a hook for `stage:action`, None for nothing.

    Actions: `pause` stops the process (SIGSTOP), `crash` kills it, `raise` is an unforeseen error, `hang` waits
    for ever. Raises SettingsError for anything else.
    """
    if not spec:
        return None
    stage_name, _, action = spec.partition(":")
    if stage_name not in list(Stage) or action not in ACTIONS:
        raise SettingsError(f"FAULT_HOOK must be one of {', '.join(Stage)}, a colon, and one of {', '.join(ACTIONS)}")

    async def fault(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage != stage_name:
            return
        if action == "raise":
            raise RuntimeError("fault on demand")
        if action == "hang":
            await asyncio.Event().wait()
        os.kill(os.getpid(), signal.SIGSTOP if action == "pause" else signal.SIGKILL)

    return fault
