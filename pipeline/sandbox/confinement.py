"""The layers that keep a child from doing harm if a file takes control of its reader. Linux only."""

import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from pipeline.sandbox import kernel, landlock, seccomp

FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/usr/share/X11/fonts"))
"""Where PDFium looks for the fonts that a file names but does not contain."""


class Layer(StrEnum):
    """A part of the kernel that confines a child."""

    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


@cache
def find_problems() -> Mapping[Layer, str]:
    """Return the layers that this process's children cannot have, each with the reason."""
    if sys.platform != "linux":
        return dict.fromkeys(Layer, "it works on Linux only")
    found = {Layer.LANDLOCK: landlock.find_problem(), Layer.SECCOMP: seccomp.find_problem()}
    return {layer: problem for layer, problem in found.items() if problem}


def find_layers() -> frozenset[Layer]:
    """Return the layers that this process's children have."""
    return frozenset(Layer) - find_problems().keys()


def summarize_layers() -> str:
    """Return `ok`, or the missing layers in one word."""
    missing = sorted(find_problems())
    return f"without_{'_and_'.join(missing)}" if missing else "ok"


@dataclass(frozen=True)
class Confinement:
    """What a fork server has prepared, so that a child has little to do."""

    ruleset: int | None
    """File descriptor of the Landlock ruleset."""
    filters_calls: bool

    def restrict_access(self) -> None:
        """Give up capabilities, files, TCP and signals. Call it before the descriptors are closed.

        Raises OSError if the kernel refuses.
        """
        if sys.platform != "linux":
            return
        kernel.drop_capabilities()
        kernel.control_process(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self.ruleset is not None:
            landlock.restrict_self(self.ruleset)

    def restrict_calls(self) -> None:
        """Give up all system calls that no reader makes. Call it last.

        Raises OSError if the kernel refuses.
        """
        if self.filters_calls:
            seccomp.install_filter()


def prepare(layers: frozenset[Layer]) -> Confinement:
    """Prepare the layers.

    Raises OSError if the kernel refuses.
    """
    return Confinement(
        ruleset=landlock.create_ruleset(find_folders()) if Layer.LANDLOCK in layers else None,
        filters_calls=Layer.SECCOMP in layers,
    )


def find_folders() -> list[Path]:
    """Return the folders that a child may read: Python, its packages, this package, and fonts."""
    python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [*python, Path(__file__).resolve().parents[1], *FONT_FOLDERS]
