"""The client of one account."""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from sluice_client.asynchronous.answers import AsyncAnswerStream
from sluice_client.asynchronous.collections import AsyncCollections
from sluice_client.asynchronous.connection import READ_SECONDS, AsyncConnection, SignIn, make_timeout
from sluice_client.asynchronous.documents import AsyncDocuments
from sluice_client.asynchronous.keys import AsyncKeys
from sluice_client.asynchronous.notes import AsyncNotes
from sluice_client.asynchronous.webhooks import AsyncWebhooks
from sluice_client.errors import UnusableInput
from sluice_client.models import AccessToken, Account, Answer, AuditEntry, Filter, SearchResult, Turn
from sluice_client.pages import AuditPage, given
from sluice_client.responses import decode
from sluice_client.retries import PATIENCE_SECONDS, Patience
from sluice_client.urls import DEFAULT_URL, normalize_url

ANSWER_SECONDS = 330.0
"""A language model may take five minutes."""
EVENTS = "text/event-stream"


class AsyncClient:
    """A client for one account of a Sluice service, to be used in a `with` block or closed at the end.

    Give an API key, or an e-mail address and a password. With a password, the client signs in when it needs to, also
    when its token expires. `patience_seconds` is how long a request is repeated while the service is unavailable or
    limits the rate. `read_seconds` is the longest wait for an answer, except those of a language model.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        email: str | None = None,
        password: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._credentials = _require_credentials(api_key, email, password)
        self._connection = AsyncConnection(
            normalize_url(url),
            token=api_key,
            sign_in=self._make_sign_in(),
            patience=Patience(patience_seconds, patience_seconds),
            read_seconds=read_seconds,
        )
        self.documents = AsyncDocuments(self._connection)
        self.notes = AsyncNotes(self._connection)
        self.collections = AsyncCollections(self._connection)
        self.keys = AsyncKeys(self._connection)
        self.webhooks = AsyncWebhooks(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    async def register(self, *, invitation: str | None = None) -> None:
        """Create the account with the e-mail address and password of this client.

        Raises Conflict if it exists, Forbidden if the service needs an invitation, and other errors.
        """
        email, password = self._require_password("an account is created")
        fields = {"email": email, "password": password, **given(invitation=invitation)}
        await self._connection.send_without_token("POST", "/v1/auth/register", repeatable=False, json=fields)

    async def account(self) -> Account:
        """Return the account, what it stores and its quotas. Raises SluiceError."""
        return decode(await self._connection.send("GET", "/v1/users/me"), Account)

    async def change_password(self, new_password: str) -> None:
        """Change the password of the account. All its other tokens and sessions end; keys stay. Raises SluiceError."""
        email, password = self._require_password("a password is changed")
        body = {"current_password": password, "new_password": new_password}
        response = await self._connection.send("PUT", "/v1/users/me/password", repeatable=False, json=body)
        self._connection.token = decode(response, AccessToken).access_token
        self._credentials = email, new_password

    async def delete_account(self) -> None:
        """Delete the account with everything in it. This cannot be undone. Raises SluiceError."""
        _, password = self._require_password("an account is deleted")
        await self._connection.send("DELETE", "/v1/users/me", repeatable=False, json={"password": password})

    def audit_log(self, *, limit: int | None = None) -> AsyncIterator[AuditEntry]:
        """Yield the actions of the account, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items("/v1/audit-logs", limit, {}, AuditPage)

    async def search(
        self,
        query: str,
        *,
        top_k: int = 8,
        mode: str | None = None,
        collection_ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the name that the service uses
        min_score: float | None = None,
        details: bool | None = None,
    ) -> SearchResult:
        """Return the best passages of documents and notes. `mode` is `hybrid`, `vector` or `keyword`.

        Raises SluiceError.
        """
        fields = _select(collection_ids, document_ids, filter, min_score=min_score, details=details, mode=mode)
        response = await self._connection.send("POST", "/v1/search", json={"query": query, "top_k": top_k, **fields})
        return decode(response, SearchResult)

    async def ask(
        self,
        question: str,
        *,
        top_k: int = 8,
        collection_ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the name that the service uses
        min_score: float | None = None,
        details: bool | None = None,
        history: Sequence[Turn] | None = None,
    ) -> Answer:
        """Return an answer that cites passages.

        `history` is what was said before, oldest first. Raises AnswerUnavailable if the language model fails, and other
        errors.
        """
        fields = _select(
            collection_ids, document_ids, filter, min_score=min_score, details=details, history=_list(history)
        )
        fields |= {"question": question, "top_k": top_k}
        timeout = make_timeout(ANSWER_SECONDS)
        return decode(await self._connection.send("POST", "/v1/ask", json=fields, timeout=timeout), Answer)

    def ask_stream(
        self,
        question: str,
        *,
        top_k: int = 8,
        collection_ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the name that the service uses
        min_score: float | None = None,
        details: bool | None = None,
        history: Sequence[Turn] | None = None,
    ) -> AsyncAnswerStream:
        """Return an answer that arrives word by word, to be used in a `with` block."""
        fields = _select(
            collection_ids, document_ids, filter, min_score=min_score, details=details, history=_list(history)
        )
        fields |= {"question": question, "top_k": top_k}
        return open_answer(self._connection, fields)

    def _make_sign_in(self) -> SignIn | None:
        if self._credentials is None:
            return None

        async def sign_in(connection: AsyncConnection, _rejected: bool) -> str:
            return await connection.log_in(*self._require_password("a client signs in"))

        return sign_in

    def _require_password(self, action: str) -> tuple[str, str]:
        if self._credentials is None:
            raise UnusableInput(f"{action} with an e-mail address and a password, not with a key")
        return self._credentials


def open_answer(connection: AsyncConnection, fields: dict[str, Any]) -> AsyncAnswerStream:
    """Return the stream of an answer. The request is sent when its block is entered."""

    async def ask() -> httpx2.Response:
        timeout = make_timeout(ANSWER_SECONDS)
        headers = {"Accept": EVENTS}
        return await connection.send("POST", "/v1/ask", json=fields, headers=headers, timeout=timeout, stream=True)

    return AsyncAnswerStream(ask)


def _require_credentials(api_key: str | None, email: str | None, password: str | None) -> tuple[str, str] | None:
    """Return the e-mail address and the password, or None if there is a key.

    Raises UnusableInput if it is not one of the two.
    """
    if api_key and not (email or password):
        return None
    if email and password and not api_key:
        return email, password
    raise UnusableInput("give either an API key, or an e-mail address and a password")


def _select(
    collection_ids: Sequence[str] | None, document_ids: Sequence[str] | None, filter_: Filter | None, **others: Any
) -> dict[str, Any]:
    """Return the fields that restrict a search."""
    return given(
        collection_ids=_list(collection_ids),
        document_ids=_list(document_ids),
        filter=filter_,
        **others,
    )


def _list(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)
