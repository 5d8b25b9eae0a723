"""The ordinary user as which tests run parts of the service, if root runs the tests."""

import os
import sys
from pathlib import Path
from typing import Any

from pipeline.operations.local.system_user import SystemUser
from tests.processes import PROJECT

ORDINARY_USER = 10001
"""The user of the container image."""


def act_as_ordinary_user() -> dict[str, Any]:
    """Return arguments of `subprocess` for a process of an ordinary user, who gets access to Python and the project."""
    if os.getuid() != 0:
        return {}
    for folder in (Path(sys.base_prefix), Path(sys.prefix), PROJECT):
        SystemUser("of the container", ORDINARY_USER, ORDINARY_USER).enter(folder)
    return {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []}
