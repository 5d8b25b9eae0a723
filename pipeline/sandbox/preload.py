"""Loads into the fork server what its children may need and could not load themselves.

A child may make no memory executable. So it can load no compiled module, and ctypes gets no memory for a function that
C calls. What is loaded here also costs each child no time.
"""

import encodings
import pkgutil
from ctypes import CFUNCTYPE
from importlib import import_module

import pypdf.filters  # noqa: F401 - for the children
from PIL import Image

import pipeline.stages.extract.page_image
import pipeline.stages.extract.pdf.reading  # noqa: F401 - for the children
from pipeline.stages.extract import find_formats

WINDOWS_ENCODINGS = {"mbcs", "oem"}

_callback = CFUNCTYPE(None)(lambda: None)
"""It has a page of executable memory, and a child uses the rest of the page."""


def load() -> None:
    """Load all readers, all encodings and the common image formats."""
    find_formats()
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in WINDOWS_ENCODINGS:
            import_module(f"{encodings.__name__}.{module.name}")
    Image.preinit()
