"""File names in all the forms in which clients send them."""

import pytest

from api.http.filenames import find_filename


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b'filename="a.txt"', "a.txt"),
        (b"filename=a.txt", "a.txt"),
        (b"", None),
        (b'filename="' + "Übersicht.txt".encode() + b'"', "Übersicht.txt"),
        (b'filename="\xdcbersicht.txt"', "Übersicht.txt"),
        (b'filename="\x93Price\x94.txt"', "“Price”.txt"),
        (b"filename=\"fallback.txt\"; filename*=UTF-8''%E9%80%9A%E7%9F%A5.txt", "通知.txt"),
        (b"filename*=utf-8'de'M%C3%A4rz%20%22x%22.txt", 'März "x".txt'),
        (b"FileName*=iso-8859-1''M%E4rz.txt", "März.txt"),
        (b'filename="annual%20report%20M%C3%A4rz.txt"', "annual report März.txt"),
        (b'filename="M%E4rz.txt"', "März.txt"),
        (b'filename="100%.txt"', "100%.txt"),
        (b'filename="50% of 20%zz.txt"', "50% of 20%zz.txt"),
        (b'filename="=?utf-8?B?TcOkcnoudHh0?="', "März.txt"),
        (b'filename="=?iso-8859-1?Q?M=E4rz_2026?=.txt"', "März 2026.txt"),
        (b'filename="=?nonsense?Q?M=E4rz?=.txt"', "=?nonsense?Q?M=E4rz?=.txt"),
    ],
)
def test_file_names(parameters: bytes, name: str | None) -> None:
    assert find_filename((b'form-data; name="file"; ' + parameters).decode("latin-1")) == name
