"""Models that were exported, in a folder that all processes of a machine share. Each model is exported once."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event
from time import monotonic
from typing import IO

import msgspec

from pipeline.embedding.engines.export import FAILURE_FILE, Failure
from pipeline.embedding.engines.model_files import ModelUnloadable, compute_checksums, describe_files
from pipeline.embedding.model import Precision
from pipeline.file_locks import try_lock

CHECKSUMS_FILE = "checksums.json"
PART_SUFFIX = ".part"
"""End of the names of unfinished folders."""
POLL_SECONDS = 0.05
EXPORT_SECONDS = 900.0
"""Time limit for an export. A large model takes minutes."""
FORMAT = 1
"""Version of the exported files. A new number makes every model be exported again."""
LIBRARIES = ("openvino", "nncf", "sentence-transformers", "transformers", "torch")
"""Libraries that shape the exported files."""


class ExportFailed(Exception):
    """The model could not be exported. Another engine may still run it."""


class ExportInterrupted(ExportFailed):
    """The process of the export was killed. Another try may succeed."""


class LoadingCancelled(RuntimeError):
    """Nobody wants the model any more."""


Exporter = Callable[[str, Precision, Path, Event], None]
"""Exports a model for a precision to a folder, until the event is set. Raises what `ExportCache.fetch` raises."""


class ExportCache:
    """The folder of the exported models."""

    def __init__(self, folder: Path, export: Exporter) -> None:
        self._folder = folder
        self._export = export

    def fetch(self, name: str, precision: Precision, cancelled: Event) -> Path:
        """Return the folder of a model that is exported for this precision. Export it first if it is not there.

        A folder whose content has changed is made anew. If several processes need the same model, one exports it, and
        the others wait. Raises ExportFailed, ModelUnloadable and LoadingCancelled.
        """
        self._refuse_folder_of_another_user()
        target = self._folder / f"{precision}-{_identify(name)}"
        try:
            if not _is_intact(target):
                self._folder.mkdir(parents=True, exist_ok=True)
                with target.with_name(f"{target.name}.lock").open("w") as file, _lock(file, cancelled):
                    self._make_unless_made(name, precision, target, cancelled)
        except ModelUnloadable:
            raise
        except OSError as error:
            raise ExportFailed(f"{self._folder} cannot be used: {error.strerror or error}") from error
        return target

    def _refuse_folder_of_another_user(self) -> None:
        """Keep root from writing to, or loading from, a folder of the service's user, who could place links there.

        Raises ExportFailed.
        """
        if os.geteuid() != 0 or not self._folder.exists():
            return
        behind_link = self._folder.stat()
        if self._folder.lstat().st_uid != 0 or behind_link.st_uid != 0:
            raise ExportFailed(f"{self._folder} belongs to another user, and root does not use it")
        if behind_link.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ExportFailed(f"other users can write to {self._folder}, and root does not use it")

    def _make_unless_made(self, name: str, precision: Precision, target: Path, cancelled: Event) -> None:
        """Export to a folder of its own, and rename it when it is complete."""
        if _is_intact(target):
            return
        for unusable in (target, *self._folder.glob(f"{target.name}.*{PART_SUFFIX}")):
            _remove(unusable)
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=PART_SUFFIX, dir=self._folder))
        try:
            self._export(name, precision, part, cancelled)
            (part / CHECKSUMS_FILE).write_bytes(msgspec.json.encode(compute_checksums(part)))
            part.chmod(0o755)  # processes of other users may read it
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def run_export(name: str, precision: Precision, folder: Path, cancelled: Event) -> None:
    """Export a model in a process of its own. Raises ExportFailed, ModelUnloadable and LoadingCancelled."""
    command = [sys.executable, "-m", "pipeline.embedding.engines.export", name, precision, str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own module; the name of the model is an argument, not a command
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            _wait(child, cancelled)
        finally:
            child.kill()
    failure = folder / FAILURE_FILE
    if failure.exists():
        failed = msgspec.json.decode(failure.read_bytes(), type=Failure)
        raise ModelUnloadable(failed.cause) if failed.is_unloadable else ExportFailed(failed.cause)
    if child.returncode:
        raise ExportInterrupted(f"the process of the export ended with {child.returncode}")


def _wait(child: subprocess.Popen[bytes], cancelled: Event) -> None:
    deadline = monotonic() + EXPORT_SECONDS
    while child.poll() is None:
        if cancelled.wait(POLL_SECONDS):
            raise LoadingCancelled("the export was cancelled")
        if monotonic() > deadline:
            raise ExportFailed(f"the export took longer than {EXPORT_SECONDS:.0f} s")


def _remove(path: Path) -> None:
    """Remove a folder, or a file or link in its place."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(file: IO[str], cancelled: Event) -> Iterator[None]:
    """Hold the lock of a model among all processes until the file is closed."""
    while not try_lock(file):
        if cancelled.wait(POLL_SECONDS):
            raise LoadingCancelled("the wait for another export was cancelled")
    yield


def _is_intact(folder: Path) -> bool:
    try:
        expected = msgspec.json.decode((folder / CHECKSUMS_FILE).read_bytes(), type=dict[str, str])
        return bool(expected) and compute_checksums(folder, except_for=CHECKSUMS_FILE) == expected
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def _identify(name: str) -> str:
    """Return a short hash of the model's files and of the libraries that export it."""
    libraries = [(library, _find_version(library)) for library in LIBRARIES]
    return hashlib.sha256(msgspec.json.encode([FORMAT, describe_files(name), libraries])).hexdigest()[:16]


def _find_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
