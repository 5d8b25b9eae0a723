"""Text of files. A format is one module of this package, found by discovery."""

import pkgutil
from functools import cache
from importlib import import_module

from pipeline.stages.extract.format import Format


@cache
def find_formats() -> tuple[Format, ...]:
    """All formats: the `FORMAT` of every module of this package that has one."""
    modules = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return tuple(module.FORMAT for module in modules if hasattr(module, "FORMAT"))


def get_format(media_type: str) -> Format:
    """Return the format with this canonical media type.

    Raises KeyError where there is none.
    """
    for candidate in find_formats():
        if candidate.media_type == media_type:
            return candidate
    raise KeyError(media_type)
