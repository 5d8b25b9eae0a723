"""Compound files (MS-CFB) and messages of Outlook (MS-OXMSG), as tests need them."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

SECTOR, SMALL_SECTOR, CUTOFF = 512, 64, 4096
ENTRIES = SECTOR // 4
"""Entries of a table in one sector."""
ROOT, STORAGE, STREAM = 5, 1, 2
END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
SIGNATURE = bytes.fromhex("d0cf11e0a1b11ae1")

Tree = Mapping[str, Union[bytes, "Tree"]]


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    child: int = FREE
    sibling: int = FREE
    start: int = END


class _Sectors:
    """Sectors of one size, and the table that chains them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts: list[bytes] = []
        self.table: list[int] = []

    def store(self, data: bytes) -> int:
        """Add data in a chain of its own. Return its first sector, or the end of a chain for no data."""
        first = len(self.parts)
        self.parts += [data[n : n + self.size].ljust(self.size, b"\0") for n in range(0, len(data), self.size)]
        count = len(self.parts) - first
        self.table += [*range(first + 1, first + count), END] if count else []
        return first if count else END


def write_compound(tree: Tree) -> bytes:
    """Return a compound file with these streams, which are bytes, and storages, which are mappings.

    Siblings are a list, not a balanced tree, which readers accept.
    """
    entries = [_Entry("Root Entry", ROOT)]
    _add(entries, 0, tree)
    large, small = _Sectors(SECTOR), _Sectors(SMALL_SECTOR)
    for entry in entries[1:]:
        entry.start = (small if len(entry.data) < CUTOFF else large).store(entry.data)
    entries[0].data = b"".join(small.parts)
    entries[0].start = large.store(entries[0].data)
    small_table = large.store(_write_table(small.table, len(small.table)))
    directory = large.store(b"".join(map(_write_entry, entries)))
    count = next(n for n in range(1, 200) if n * ENTRIES >= len(large.table) + n)
    first = len(large.table)
    table = _write_table([*large.table, *[FAT] * count], count * ENTRIES)
    small_count = -(-len(small.table) // ENTRIES)
    header = struct.pack("<8s16xHHHHH6x9I", SIGNATURE, 0x3E, 3, 0xFFFE, 9, 6, 0, count, directory, 0, CUTOFF,
                         small_table, small_count, END, 0)  # fmt: skip
    header += struct.pack(f"<{count}I", *range(first, first + count))
    return header.ljust(SECTOR, b"\xff") + b"".join(large.parts) + table


def _write_table(table: list[int], length: int) -> bytes:
    return struct.pack(f"<{max(length, len(table))}I", *table, *[FREE] * (length - len(table)))


def _add(entries: list[_Entry], parent: int, tree: Tree) -> None:
    before = None
    for name, content in sorted(tree.items(), key=lambda item: (len(item[0]), item[0].upper())):
        index = len(entries)
        is_stream = isinstance(content, bytes)
        entries.append(_Entry(name, STREAM if is_stream else STORAGE, content if isinstance(content, bytes) else b""))
        if before is None:
            entries[parent].child = index
        else:
            entries[before].sibling = index
        before = index
        if not isinstance(content, bytes):
            _add(entries, index, content)


def _write_entry(entry: _Entry) -> bytes:
    name = (entry.name + "\0").encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16xI16xIQ",
        name,
        len(name),
        entry.kind,
        1,
        FREE,
        entry.sibling,
        entry.child,
        0,
        entry.start,
        len(entry.data),
    )


def write_message(
    texts: Mapping[int, str | bytes],
    numbers: Mapping[int, int] | None = None,
    header: int = 32,
    storages: Mapping[str, Tree] | None = None,
) -> Tree:
    """Return the storage of a message, an attachment or a recipient.

    `texts` are properties by their number: bytes are binary. `numbers` are integers and times. `header` is the number
    of bytes before the properties.
    """
    fixed = b"".join(struct.pack("<HHIq", 3, identifier, 6, value) for identifier, value in (numbers or {}).items())
    streams = {
        f"__substg1.0_{identifier:04X}{'0102' if isinstance(value, bytes) else '001F'}": (
            value if isinstance(value, bytes) else value.encode("utf-16-le")
        )
        for identifier, value in texts.items()
    }
    return {"__properties_version1.0": bytes(header) + fixed, **streams, **(storages or {})}
