"""Bounds on the uploads of one account that are under way."""

from uuid import UUID

import pytest

from pipeline.errors import StorageFull, TooManyRequests
from pipeline.use_cases.upload_room import UploadRoom

ANNA, BERT = UUID(int=1), UUID(int=2)


def test_uploads_are_counted_by_account() -> None:
    room = UploadRoom(limit=1)
    with room.begin(ANNA), room.begin(BERT):
        with pytest.raises(TooManyRequests), room.begin(ANNA):
            pass
        assert room.under_way == {ANNA: 1, BERT: 1}
    assert room.under_way == {}
    with room.begin(ANNA):
        pass


def test_uploads_of_an_account_hold_at_most_what_they_leave_free() -> None:
    room = UploadRoom()
    with room.begin(ANNA) as first:
        first.take(40, 100)
        with room.begin(ANNA) as second, room.begin(BERT) as other:
            second.take(10, 60)
            with pytest.raises(TooManyRequests):
                second.take(1, 50)
            other.take(25, 50)
        first.take(10, 60)  # what the second one held counts no longer
        with pytest.raises(StorageFull):
            first.take(1, 50)
