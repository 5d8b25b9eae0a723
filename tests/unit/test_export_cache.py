"""The folder of the exported models: what is kept, what is made anew, and who waits for whom."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from pipeline.embedding.engines.export_cache import ExportCache, ExportFailed, LoadingCancelled
from pipeline.embedding.engines.model_files import ModelUnloadable
from pipeline.embedding.model import Precision

NOT_CANCELLED = Event()


class Exporter:
    """Writes two small files, and counts the exports."""

    def __init__(self) -> None:
        self.exports: list[tuple[str, Precision]] = []

    def __call__(self, name: str, precision: Precision, folder: Path, cancelled: Event) -> None:
        assert not cancelled.is_set()
        self.exports.append((name, precision))
        (folder / "model.xml").write_text("layers")
        (folder / "model.bin").write_bytes(bytes(1000))


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "a model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights").write_bytes(b"1")
    return str(folder)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def cache(tmp_path: Path, exporter: Exporter) -> ExportCache:
    return ExportCache(tmp_path / "cache", exporter)


def fetch(cache: ExportCache, model: str, precision: Precision = Precision.FLOAT32) -> Path:
    return cache.fetch(model, precision, NOT_CANCELLED)


def test_model_is_exported_once(cache: ExportCache, exporter: Exporter, model: str) -> None:
    folder = fetch(cache, model)
    assert fetch(cache, model) == folder
    assert exporter.exports == [(model, Precision.FLOAT32)]
    assert sorted(file.name for file in folder.iterdir()) == ["checksums.json", "model.bin", "model.xml"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_other_precision_and_other_weights_are_other_exports(
    cache: ExportCache, exporter: Exporter, model: str
) -> None:
    folders = {fetch(cache, model), fetch(cache, model, Precision.INT8)}
    (Path(model) / "weights").write_bytes(b"2")
    assert len({*folders, fetch(cache, model)}) == 3
    assert len(exporter.exports) == 3


def empty(folder: Path) -> None:
    (folder / "model.bin").unlink()
    (folder / "checksums.json").write_text("{}")


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def replace_by_a_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.with_name("nowhere"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.bin").write_bytes(b"\1" + bytes(999)),
        lambda folder: (folder / "model.bin").write_bytes(bytes(500)),
        lambda folder: (folder / "model.bin").unlink(),
        lambda folder: (folder / "checksums.json").unlink(),
        lambda folder: (folder / "checksums.json").write_text("{"),
        lambda folder: (folder / "checksums.json").write_bytes(b'{"model.bin":"\xff"}'),
        empty,
        shutil.rmtree,
        replace_by_a_file,
        replace_by_a_link,
    ],
    ids=[
        "changed",
        "cut",
        "missing",
        "no checksums",
        "cut checksums",
        "no text",
        "empty",
        "deleted",
        "a file",
        "a link",
    ],
)
def test_damaged_export_is_made_anew(cache: ExportCache, exporter: Exporter, model: str, damage: object) -> None:
    folder = fetch(cache, model)
    assert callable(damage)
    damage(folder)
    assert fetch(cache, model) == folder
    assert (folder / "model.bin").read_bytes() == bytes(1000)
    assert len(exporter.exports) == 2
    fetch(cache, model)
    assert len(exporter.exports) == 2


def test_what_a_killed_export_left_is_removed(cache: ExportCache, exporter: Exporter, model: str) -> None:
    folder = fetch(cache, model)
    shutil.rmtree(folder)
    left = folder.with_name(f"{folder.name}.abcd.part")
    left.mkdir()
    (left / "model.bin").write_bytes(bytes(10))
    fetch(cache, model)
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}
    assert len(exporter.exports) == 2


def test_failed_export_leaves_nothing_and_is_tried_again(tmp_path: Path, exporter: Exporter, model: str) -> None:
    def fail(name: str, precision: Precision, folder: Path, cancelled: Event) -> None:
        exporter(name, precision, folder, cancelled)
        raise ExportFailed("no memory")

    with pytest.raises(ExportFailed, match="no memory"):
        fetch(ExportCache(tmp_path / "cache", fail), model)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    fetch(ExportCache(tmp_path / "cache", exporter), model)
    assert len(exporter.exports) == 2


def test_several_that_start_at_once_export_once(tmp_path: Path, exporter: Exporter, model: str) -> None:
    barrier = Barrier(4)

    def export_slowly(name: str, precision: Precision, folder: Path, cancelled: Event) -> None:
        cancelled.wait(0.3)  # until the others wait, too
        exporter(name, precision, folder, cancelled)

    def start(_number: int) -> Path:
        barrier.wait(10)
        return fetch(ExportCache(tmp_path / "cache", export_slowly), model)

    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(start, range(4)))
    assert len(folders) == 1
    assert len(exporter.exports) == 1


def test_wait_for_another_export_can_be_cancelled(tmp_path: Path, exporter: Exporter, model: str) -> None:
    has_begun, may_end, cancelled = Event(), Event(), Event()

    def export(name: str, precision: Precision, folder: Path, _cancelled: Event) -> None:
        has_begun.set()
        assert may_end.wait(10)
        exporter(name, precision, folder, NOT_CANCELLED)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fetch, ExportCache(tmp_path / "cache", export), model)
        assert has_begun.wait(10)
        second = threads.submit(ExportCache(tmp_path / "cache", exporter).fetch, model, Precision.FLOAT32, cancelled)
        cancelled.set()
        assert isinstance(second.exception(10), LoadingCancelled)
        may_end.set()
        first.result(10)
    assert len(exporter.exports) == 1


def test_read_only_folder_serves_what_it_has(cache: ExportCache, model: str) -> None:
    folder = fetch(cache, model)
    lock = folder.with_name(f"{folder.name}.lock")
    lock.unlink()
    lock.mkdir()  # opening it fails, for root too
    assert fetch(cache, model) == folder
    (folder / "model.bin").unlink()
    with pytest.raises(ExportFailed, match="cannot be used: Is a directory"):
        fetch(cache, model)


def test_model_that_no_engine_can_load(tmp_path: Path, model: str) -> None:
    def fail(_name: str, _precision: Precision, _folder: Path, _cancelled: Event) -> None:
        raise ModelUnloadable("no such model")

    with pytest.raises(ModelUnloadable, match="no such model"):
        fetch(ExportCache(tmp_path / "cache", fail), model)


def give_away(folder: Path) -> None:
    os.chown(folder, 12345, 12345)


def replace_by_a_link_of_another_user(folder: Path) -> None:
    moved = folder.rename(folder.with_name("moved"))
    folder.symlink_to(moved)
    os.chown(folder, 12345, 12345, follow_symlinks=False)


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("change", [give_away, replace_by_a_link_of_another_user, open_to_all])
def test_root_does_not_use_a_folder_that_others_can_change(
    cache: ExportCache, exporter: Exporter, model: str, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    fetch(cache, model)
    change(tmp_path / "cache")
    with pytest.raises(ExportFailed, match=r"(belongs to another user|other users can write to).*root does not use it"):
        fetch(cache, model)
    assert len(exporter.exports) == 1


def test_folder_without_a_model(cache: ExportCache, exporter: Exporter, tmp_path: Path) -> None:
    with pytest.raises(ModelUnloadable, match=r"has no modules\.json or config\.json$"):
        fetch(cache, str(tmp_path))
    assert exporter.exports == []


def test_path_without_a_folder(cache: ExportCache, exporter: Exporter, tmp_path: Path) -> None:
    with pytest.raises(ModelUnloadable, match="is neither a folder nor the name of a model of the hub"):
        fetch(cache, str(tmp_path / "not yet mounted"))
    assert exporter.exports == []


def test_folder_that_cannot_be_made(tmp_path: Path, exporter: Exporter, model: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportFailed, match="cannot be used: Not a directory"):
        fetch(ExportCache(tmp_path / "file" / "cache", exporter), model)
