"""The layers that keep a child from doing harm if a file takes control of its reader. Linux only."""

import encodings
import pkgutil
import sys
import sysconfig
from ctypes import CFUNCTYPE
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path

import pypdf.filters  # noqa: F401 - loaded here, so that no child has to
from PIL import Image

from pipeline.sandbox import kernel, landlock, seccomp

FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/usr/share/X11/fonts"))
"""Where PDFium looks for the fonts that a file names but does not contain."""

_closure = CFUNCTYPE(None)(lambda: None)
"""ctypes needs executable memory for functions that C calls. It gets a page here, and a child uses the rest of it."""


class Layer(StrEnum):
    """A part of the kernel that confines a child."""

    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


@cache
def find_layers() -> frozenset[Layer]:
    """Return the layers that this kernel offers to this process."""
    if sys.platform != "linux":
        return frozenset()
    landlocked = {Layer.LANDLOCK} if landlock.find_version() else set()
    return frozenset(landlocked | ({Layer.SECCOMP} if seccomp.find_processor() else set()))


@dataclass(frozen=True)
class Confinement:
    """What a fork server has prepared, so that a child has little to do."""

    ruleset: int | None
    """File descriptor of the Landlock ruleset."""
    processor: seccomp.Processor | None
    """The processor, if calls are filtered."""

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
        if self.processor:
            seccomp.install_filter(self.processor)


def prepare(layers: frozenset[Layer]) -> Confinement:
    """Prepare the layers, and load what children could not load themselves.

    Raises OSError if the kernel refuses.
    """
    _load_modules()
    version = landlock.find_version() if Layer.LANDLOCK in layers else 0
    return Confinement(
        ruleset=landlock.create_ruleset(version, find_folders()) if version else None,
        processor=seccomp.find_processor() if Layer.SECCOMP in layers else None,
    )


def find_folders() -> list[Path]:
    """Return the folders that a child may read: Python, its packages, this package, and fonts."""
    python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [*python, Path(__file__).resolve().parents[1], *FONT_FOLDERS]


def _load_modules() -> None:
    """Load all encodings and the common image formats. Some are libraries, which a child may not make executable."""
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in {"mbcs", "oem"}:  # they exist on Windows only
            import_module(f"{encodings.__name__}.{module.name}")
    Image.preinit()
