"""Identifies the files of a model by their content, because the folder of a model can be replaced."""

import hashlib
from pathlib import Path

import msgspec

from pipeline.embedding.model import find_folder

MODEL_FILES = ("modules.json", "config.json")
"""A folder with a model contains one of these files."""


class ModelUnloadable(OSError):
    """The model itself cannot be loaded, so no engine can run it."""


def describe_files(name: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, or only its name if it has not been downloaded from the hub yet.

    Raises ModelUnloadable if the folder contains no model, or if `name` is neither a folder nor a name of the hub.
    """
    folder = find_folder(name) or _find_downloaded(name)
    if folder and not any((folder / file).is_file() for file in MODEL_FILES):
        raise ModelUnloadable(f"{folder} does not contain a model: it has no {' or '.join(MODEL_FILES)}")
    return compute_checksums(folder) if folder else {"name": name}


def identify_files(name: str) -> str:
    """Return a short hash of `describe_files`, and raise what it raises."""
    return hashlib.sha256(msgspec.json.encode(describe_files(name))).hexdigest()[:16]


def compute_checksums(folder: Path, *, except_for: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path, except for files of this name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != except_for)
    checksums = {}
    for file in files:
        with file.open("rb") as opened:
            checksums[str(file.relative_to(folder))] = hashlib.file_digest(opened, "sha256").hexdigest()
    return checksums


def _find_downloaded(name: str) -> Path | None:
    """Return the folder of a model of the hub, or None if it has not been downloaded yet.

    Raises ModelUnloadable if the hub allows no such name, as with a path of a folder that does not exist.
    """
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415 - slow to import

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise ModelUnloadable(f"{name} is neither a folder nor the name of a model of the hub") from error
    return Path(found).parent if isinstance(found, str) else None
