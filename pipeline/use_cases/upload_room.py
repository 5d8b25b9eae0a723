"""Bounds what one account's unfinished uploads hold of this process and of the temporary folder."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from pipeline.errors import StorageFull, TooManyRequests

MAX_UPLOADS = 32
"""Maximum number of uploads under way per account and process. Each buffers up to 1 MiB in memory."""


class UploadRoom:
    """Counts the uploads under way of each account, and their bytes in the temporary folder."""

    def __init__(self, limit: int = MAX_UPLOADS) -> None:
        self._limit = limit
        self.under_way: Counter[UUID] = Counter()
        """Uploads under way by account. Accounts without any have no entry."""
        self._held_bytes: Counter[UUID] = Counter()

    @contextmanager
    def begin(self, user_id: UUID) -> Iterator["UploadUnderWay"]:
        """Count one more upload until the block ends, and then its bytes as free.

        Raises TooManyRequests if the account has reached the limit.
        """
        if self.under_way[user_id] >= self._limit:
            raise _too_many()
        self.under_way[user_id] += 1
        upload = UploadUnderWay(self, user_id)
        try:
            yield upload
        finally:
            self.under_way[user_id] -= 1
            self._held_bytes[user_id] -= upload.held_bytes
            self.under_way += Counter()  # drops the zeros
            self._held_bytes += Counter()

    def take(self, user_id: UUID, size: int, free: int) -> None:
        """Count `size` more bytes of the account, if `free` bytes of the temporary folder leave room for others.

        Raises TooManyRequests if the account's uploads would hold more than they leave free, and StorageFull if
        this is its only upload.
        """
        if self._held_bytes[user_id] + size > free - size:
            raise StorageFull if self.under_way[user_id] == 1 else _too_many()
        self._held_bytes[user_id] += size


@dataclass
class UploadUnderWay:
    """One upload, and the bytes that it holds in the temporary folder."""

    room: UploadRoom
    user_id: UUID
    held_bytes: int = 0

    def take(self, size: int, free: int) -> None:
        """Count `size` more bytes, of `free` ones. Raises what `UploadRoom.take` raises."""
        self.room.take(self.user_id, size, free)
        self.held_bytes += size


def _too_many() -> TooManyRequests:
    message = "Too many of your uploads are under way. Let some of them finish, and send this file again."
    return TooManyRequests(message, code="too_many_uploads", retry_after_seconds=30)
