"""Extracts the text of files. Each module of `formats` is one file format, found by discovery."""

import pkgutil
from functools import cache
from importlib import import_module

from pipeline.stages.extract import formats
from pipeline.stages.extract.format import Format


@cache
def find_formats() -> tuple[Format, ...]:
    """Return all formats: the `FORMAT` of each module of `formats`."""
    modules = (import_module(f"{formats.__name__}.{module.name}") for module in pkgutil.iter_modules(formats.__path__))
    return tuple(module.FORMAT for module in modules)


def get_format(media_type: str) -> Format:
    """Return the format with this canonical media type.

    Raises KeyError where there is none.
    """
    for candidate in find_formats():
        if candidate.media_type == media_type:
            return candidate
    raise KeyError(media_type)
