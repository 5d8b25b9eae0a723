"""Extract the text of files. Each module of `formats` defines one file format, and is discovered."""

import pkgutil
from functools import cache
from importlib import import_module

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract import formats
from pipeline.stages.extract.format import Format


@cache
def find_formats() -> tuple[Format, ...]:
    """Return all formats: the `FORMAT` of each module of `formats`, in the order of the modules' names."""
    modules = (import_module(f"{formats.__name__}.{module.name}") for module in pkgutil.iter_modules(formats.__path__))
    return tuple(module.FORMAT for module in modules)


def get_format(media_type: str) -> Format:
    """Return the format with this canonical media type, as it is stored with a document.

    Raises IngestionError (`unsupported_media_type`) if the format was removed after the upload.
    """
    for candidate in find_formats():
        if candidate.media_type == media_type:
            return candidate
    message = f"Files of type {media_type} can no longer be read. Convert the file to another format and upload it."
    raise IngestionError(FailureCode.UNSUPPORTED_MEDIA_TYPE, message)
