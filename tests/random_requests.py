"""Random requests to every route of the OpenAPI document, from a seed: broken encodings, borders, nesting, headers."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

INT64 = 2**63
NUMBERS = (0, -1, 1, 50, INT64 - 1, INT64, -INT64, -INT64 - 1, 2**31, 10**18, 10**30, 1e308, -1e308, 5e-324, 0.5, 41.0)
TEXTS = (
    "",
    " ",
    "a",
    "None",
    "\x00",
    "a\x00b",
    "ünïcödé",
    "日本語",
    "\ufeff",
    "\u202e",
    "😀" * 50,
    "x" * 6000,
    "'; DROP TABLE users; --",
    "%s%n%00",
    "../../etc/passwd",
    "9" * 18,
    "9" * 5000,
    "1e400",
    "NaN",
    "-0",
    "0001-01-01T00:00:00Z",
    "99999-12-31",
    "\ud800",
)
HEADER_NAMES = (
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "last-event-id",
    "origin",
    "access-control-request-method",
    "prefer",
    "range",
    "transfer-encoding",
    "x-forwarded-for",
    "x-request-id",
)
HEADER_VALUES = (
    b"",
    b",",
    b";;==",
    b"*/*;q=abc",
    b"application/json; charset=\xff",
    b"application/json; charset=utf-7",
    b"text/event-stream",
    b"text/event-stream;q=inf",
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=" + b"b" * 500,
    b"wait=30",
    b"wait=99999999999999999999",
    b"wait=-1",
    b"bytes=0-99999999999999999999",
    b"Bearer ",
    b"Bearer a.b.c",
    b"Bearer \xff\xfe",
    b'W/"\xff", "' + b"a" * 300 + b'"',
    b"999999999999999999",
    b"-1",
    b"1.2.3.4, " * 700,
    b"\xe9\xe8",
    b"\xf0\x9f\x98\x80",
    b"x" * 6000,
)
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nsome text\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff\xfe.txt"\r\n\r\nsome text\r\n--b--\r\n',
    b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''%ff%00.pdf\r\n\r\n%PDF\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\r\n--b--\r\n',
    b"--b\r\n\r\n\r\n--b--\r\n",
    b"--b\r\nContent-Disposition\r\n\r\nx",
    b"--b--",
)


@dataclass(frozen=True, slots=True)
class RandomRequest:
    """A request as it arrives: bytes that a client may send."""

    method: str
    path: bytes
    """Percent-encoded."""
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class RequestGenerator:
    """Makes requests. The same seed makes the same requests."""

    def __init__(self, schema: dict[str, Any], seed: int, token: str, ids: Sequence[str]) -> None:
        """`ids` are ids of documents and notes that exist."""
        self._random = random.Random(seed)
        self._operations = list(_list_operations(schema))
        self._token = token
        self._ids = ids

    def generate(self, number: int) -> Iterator[RandomRequest]:
        """Yield this many requests. Every operation is used equally often."""
        for index in range(number):
            method, path, operation = self._operations[index % len(self._operations)]
            content_type, body = self._make_body(operation)
            yield RandomRequest(
                method.upper(),
                self._fill(path),
                self._make_query(operation),
                self._make_headers(operation, content_type),
                body,
            )

    def _fill(self, template: str) -> bytes:
        parts = template.split("{")
        path = parts[0].encode()
        for part in parts[1:]:
            path += self._make_path_value() + part.partition("}")[2].encode()
        return path

    def _make_path_value(self) -> bytes:
        if self._random.random() < 0.6:
            return self._random.choice(self._ids).encode()
        return quote_from_bytes(self._make_text_bytes()[:2000], safe="").encode() or b"1"

    def _make_query(self, operation: dict[str, Any]) -> bytes:
        if self._random.random() < 0.1:
            return quote_from_bytes(self._make_noise(200), safe="=&%+;").encode()
        names = [item["name"] for item in operation.get("parameters", []) if item["in"] == "query"]
        chosen = [name for name in names if self._random.random() < 0.6]
        pairs = [f"{name}=".encode() + quote_from_bytes(self._make_text_bytes()).encode() for name in chosen]
        return b"&".join(pairs)

    def _make_headers(self, operation: dict[str, Any], content_type: bytes) -> list[tuple[bytes, bytes]]:
        headers = [(b"host", b"test"), (b"content-type", content_type)]
        if self._random.random() < 0.85:
            headers.append((b"authorization", self._token.encode()))
        own = [item["name"].lower() for item in operation.get("parameters", []) if item["in"] == "header"]
        others = [self._random.choice(HEADER_NAMES) for _ in range(self._random.choice((0, 0, 1, 1, 2, 5)))]
        for name in map(str.encode, [*own, *others]):
            value = self._random.choice(HEADER_VALUES) if self._random.random() < 0.8 else self._make_text_bytes()
            headers = [header for header in headers if header[0] != name]
            headers.append((name, value.translate(None, b"\x00\r\n")))
        return headers

    def _make_body(self, operation: dict[str, Any]) -> tuple[bytes, bytes]:
        content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
        if self._random.random() < 0.1 or not content:
            return b"application/json", self._random.choice((b"", b"", self._make_noise(300)))
        media_type, description = next(iter(content.items()))
        if media_type == "multipart/form-data":
            return b"multipart/form-data; boundary=b", self._damage(self._random.choice(MULTIPART), 0.3)
        return b"application/json", self._make_json(_find_example(description))

    def _make_json(self, example: Any) -> bytes:
        kind = self._random.random()
        if kind < 0.08:
            depth = self._random.choice((100, 1000, 100_000))
            return self._random.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
        value = self._mutate(example)
        if kind < 0.16 and isinstance(value, dict) and value:
            value[self._random.choice(list(value))] = self._nest(self._random.choice((50, 900)))
        text = json.dumps(value, ensure_ascii=self._random.random() < 0.5)
        encoding = self._random.choice(("utf-8",) * 6 + ("latin-1", "utf-16", "utf-8-sig", "cp1252"))
        return self._damage(text.encode(encoding, errors="surrogatepass" if "utf" in encoding else "replace"), 0.1)

    def _nest(self, depth: int) -> Any:
        value: Any = self._make_value()
        for _ in range(depth):
            value = [value]
        return value

    def _mutate(self, example: Any) -> Any:
        if not isinstance(example, dict):
            return self._make_value()
        value = {name: self._make_value() if self._random.random() < 0.35 else old for name, old in example.items()}
        if self._random.random() < 0.2:
            value[self._make_text()] = self._make_value()
        if value and self._random.random() < 0.2:
            del value[self._random.choice(list(value))]
        return value

    def _make_value(self) -> Any:
        makers: tuple[Callable[[], Any], ...] = (
            lambda: self._random.choice(NUMBERS),
            self._make_text,
            lambda: self._random.choice((None, True, False, [], {}, float("inf"), float("nan"))),
            lambda: [self._make_text() for _ in range(self._random.randrange(4))],
            lambda: self._random.choice(self._ids),
            lambda: {self._make_text(): self._random.choice(NUMBERS)},
        )
        return self._random.choice(makers)()

    def _make_text(self) -> str:
        if self._random.random() < 0.3:
            return "".join(chr(self._random.randrange(1, 0xD7FF)) for _ in range(self._random.randrange(40)))
        return self._random.choice((*TEXTS, *map(str, NUMBERS)))

    def _make_text_bytes(self) -> bytes:
        return self._make_noise(30) if self._random.random() < 0.2 else self._make_text().encode(errors="surrogatepass")

    def _make_noise(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randrange(most))

    def _damage(self, body: bytes, probability: float) -> bytes:
        if not body or self._random.random() > probability:
            return body
        place = self._random.randrange(len(body))
        return body[:place] + self._make_noise(4) + body[place + self._random.randrange(3) :]


def _list_operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _find_example(description: dict[str, Any]) -> Any:
    examples = [example["value"] for example in description.get("examples", {}).values()]
    return examples[0] if examples else description.get("example", {})
