"""The commands. Data goes to standard output, everything else to standard error."""

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sluice_client.asynchronous.client import ANSWER_SECONDS, open_answer
from sluice_client.asynchronous.connection import make_timeout
from sluice_client.asynchronous.documents import DELETED_AT_ONCE
from sluice_client.errors import BrokenOff, SluiceError, UnexpectedAnswer, UnusableInput
from sluice_client.models import (
    AccessToken,
    Account,
    Answer,
    Deletions,
    Document,
    NewApiKey,
    NewWebhook,
    SearchResult,
)
from sluice_client.pages import given
from sluice_client.responses import decode
from sluice_command import display
from sluice_command.connection import Connection
from sluice_command.errors import DONE, FAILED
from sluice_command.session import Session, delete_session, save_session
from sluice_command.upload import RawPage, Run, Upload, find_files

SORTS = {
    "newest": "-created_at",
    "oldest": "created_at",
    "name": "filename",
    "largest": "-size_bytes",
    "smallest": "size_bytes",
}
"""The orders of documents, and what the service calls them."""
EVENTS = ("document.ready", "document.failed", "document.deleted")
NO_PARAMETERS: Mapping[str, str] = {}

Command = Callable[[Connection, Namespace], Coroutine[Any, Any, int]]
"""Runs a command and returns its exit code. Raises SluiceError."""


def print_json(body: bytes, **more: object) -> None:
    """Print a JSON object of the service on one line, with more fields in front."""
    data = msgspec.json.decode(body)
    print(msgspec.json.encode({**more, **data} if more else data).decode(), flush=True)


async def upload(connection: Connection, options: Namespace) -> int:
    """Upload files. With `--wait`, wait until every document is `ready` or `failed`."""
    uploads = find_files(options.files)
    board = display.Board(uploads, display.make_console(stderr=True))
    connection.tell = board.tell
    if connection.ask_password:
        connection.ask_password = board.hide_during(connection.ask_password)
    try:
        with board:
            await Run(connection, uploads, options.wait, options.collections or ()).finish(options.parallel)
    finally:
        _show_uploads(uploads, as_json=options.json)
    has_failed = any(upload.error for upload in uploads)
    return FAILED if has_failed else DONE


def _show_uploads(uploads: list[Upload], *, as_json: bool) -> None:
    if not as_json:
        display.make_console().print(display.tabulate_uploads(uploads))
        return
    for upload in uploads:
        if upload.document:
            print_json(upload.body, file=upload.name)
        else:
            line = {"file": upload.name, "status": upload.status, "error": upload.error}
            print_json(msgspec.json.encode(line))


async def status(connection: Connection, options: Namespace) -> int:
    """Show the newest documents, or the given ones."""
    console = display.make_console()
    bodies = [body async for body in _find_documents(connection, options)]
    if options.json:
        for body in bodies:
            print_json(body)
        return DONE
    documents = [msgspec.json.decode(body, type=Document) for body in bodies]
    if options.ids:
        for document in documents:
            console.print(display.describe_document(document))
    else:
        console.print(display.tabulate_documents(documents))
    return DONE


async def _find_documents(connection: Connection, options: Namespace) -> AsyncIterator[bytes]:
    for document_id in options.ids:
        yield (await connection.send("GET", f"/v1/documents/{document_id}")).content
    if not options.ids:
        parameters = given(
            collection_id=options.collection,
            status=options.status,
            name=options.name,
            filter=options.filter,
            sort=SORTS.get(options.sort),
        )
        async for item in connection.list_items("/v1/documents", options.limit, parameters, RawPage):
            yield bytes(item)


async def search(connection: Connection, options: Namespace) -> int:
    """Show the best passages for a query."""
    body = {"query": options.query, "top_k": options.top_k, "mode": options.mode, **_restrict(options)}
    response = await connection.send("POST", "/v1/search", json=body)
    if options.json:
        print_json(response.content)
    else:
        display.show_passages(display.make_console(), decode(response, SearchResult).passages)
    return DONE


async def ask(connection: Connection, options: Namespace) -> int:
    """Answer a question: print the words as they arrive, then the cited passages."""
    body = {"question": options.question, "top_k": options.top_k, **_restrict(options)}
    if options.json:
        timeout = make_timeout(ANSWER_SECONDS)
        print_json((await connection.send("POST", "/v1/ask", json=body, timeout=timeout)).content)
        return DONE
    async with open_answer(connection, body) as stream:
        try:
            async for words in stream:
                print(display.clean(words), end="", flush=True)
        except (BrokenOff, UnexpectedAnswer):
            raise
        except SluiceError:
            print(flush=True)
            raise
    if stream.answer:
        print(flush=True)
        _print_citations(stream.answer)
    return DONE


def _print_citations(answer: Answer) -> None:
    if answer.citations:
        print()
    numbers = {citation.number for citation in answer.citations}
    for number, passage in enumerate(answer.passages, 1):
        if number in numbers:
            print(f"[{number}] {display.describe_place(passage)}")


def _restrict(options: Namespace) -> dict[str, list[str]]:
    return given(document_ids=options.documents, collection_ids=options.collections)


async def retry(connection: Connection, options: Namespace) -> int:
    """Retry failed documents."""
    for document_id in options.ids:
        response = await connection.send("POST", f"/v1/documents/{document_id}/retry", repeatable=False)
        if options.json:
            print_json(response.content)
        else:
            print(f"{document_id} {decode(response, Document).status}")
    return DONE


async def delete(connection: Connection, options: Namespace) -> int:
    """Delete documents and everything derived from them."""
    missing = False
    for first in range(0, len(options.ids), DELETED_AT_ONCE):
        body = {"ids": options.ids[first : first + DELETED_AT_ONCE]}
        done = decode(await connection.send("POST", "/v1/documents/delete", json=body), Deletions)
        for document_id in done.deleted:
            _tell(options, f"{document_id} deleted", id=document_id, deleted=True)
        for document_id in done.not_found:
            _tell(options, f"{document_id} does not exist", id=document_id, deleted=False)
        missing = missing or bool(done.not_found)
    return FAILED if missing else DONE


def _tell(options: Namespace, text: str, **fields: object) -> None:
    """Print a text, or with `--json` the fields."""
    if options.json:
        print_json(msgspec.json.encode(fields))
    else:
        print(text)


async def log_in(connection: Connection, options: Namespace) -> int:
    """Sign in and save the token for the next commands."""
    identity = connection.identity
    if identity.email is None or identity.password is None:
        raise UnusableInput("an e-mail address and a password are required; set SLUICE_EMAIL and SLUICE_PASSWORD")
    if options.register:
        await connection.register(identity.email, identity.password)
    token = await connection.log_in(identity.email, identity.password)
    save_session(identity.session_file, Session(identity.url, identity.email, token))
    if options.json:
        print_json(msgspec.json.encode({"url": identity.url, "email": identity.email}))
    else:
        print(f"signed in to {identity.url} as {identity.email}")
    return DONE


async def show_account(connection: Connection, options: Namespace) -> int:
    """Show the account, what it stores and its quotas."""
    response = await connection.send("GET", "/v1/users/me")
    if options.json:
        print_json(response.content)
    else:
        print(display.describe_account(decode(response, Account)))
    return DONE


async def change_password(connection: Connection, options: Namespace) -> int:
    """Change the password. All other tokens of the account end, and the saved session gets the new one."""
    body = {"current_password": connection.identity.password, "new_password": options.new_password}
    response = await connection.send("PUT", "/v1/users/me/password", repeatable=False, json=body)
    connection.identity.renew(decode(response, AccessToken).access_token, options.new_password)
    if options.json:
        print_json(response.content)
    else:
        print("the password is changed; other devices must sign in again")
    return DONE


async def delete_account(connection: Connection, options: Namespace) -> int:
    """Delete the account with everything in it, and the saved session."""
    identity = connection.identity
    await connection.send("DELETE", "/v1/users/me", repeatable=False, json={"password": identity.password})
    if identity.has_session:
        delete_session(identity.session_file)
    if options.json:
        print_json(msgspec.json.encode({"email": identity.email, "deleted": True}))
    else:
        print("the account is deleted")
    return DONE


async def list_keys(connection: Connection, options: Namespace) -> int:
    """List the API keys, newest first."""
    return await _list(connection, options, "/v1/api-keys", display.describe_key)


async def create_key(connection: Connection, options: Namespace) -> int:
    """Create an API key and print its secret. Only the secret goes to standard output."""
    ends = datetime.now(UTC) + timedelta(days=options.days) if options.days else None
    body = given(
        name=options.name,
        scopes=options.scopes,
        collection_ids=options.collections,
        expires_at=ends.isoformat() if ends else None,
    )
    response = await connection.send("POST", "/v1/api-keys", repeatable=False, json=body)
    if options.json:
        print_json(response.content)
    else:
        _show_secret(decode(response, NewApiKey).secret)
    return DONE


def _show_secret(secret: str) -> None:
    print(secret)
    print("sluice: store the secret now, it is not shown again", file=sys.stderr)


async def revoke_keys(connection: Connection, options: Namespace) -> int:
    """Revoke API keys."""
    for key_id in options.ids:
        await connection.send("DELETE", f"/v1/api-keys/{key_id}")
        _tell(options, f"{key_id} revoked", id=key_id, revoked=True)
    return DONE


async def list_webhooks(connection: Connection, options: Namespace) -> int:
    """List the webhooks, newest first."""
    return await _list(connection, options, "/v1/webhooks", display.describe_webhook)


async def create_webhook(connection: Connection, options: Namespace) -> int:
    """Create a webhook and print its secret. Only the secret goes to standard output."""
    body = {"url": options.receiver, "events": options.events or list(EVENTS)}
    response = await connection.send("POST", "/v1/webhooks", repeatable=False, json=body)
    if options.json:
        print_json(response.content)
    else:
        _show_secret(decode(response, NewWebhook).secret)
    return DONE


async def delete_webhooks(connection: Connection, options: Namespace) -> int:
    """Delete webhooks."""
    for webhook_id in options.ids:
        await connection.send("DELETE", f"/v1/webhooks/{webhook_id}")
        _tell(options, f"{webhook_id} deleted", id=webhook_id, deleted=True)
    return DONE


async def list_deliveries(connection: Connection, options: Namespace) -> int:
    """List the events of a webhook, newest first."""
    path = f"/v1/webhooks/{options.webhook_id}/deliveries"
    return await _list(connection, options, path, display.describe_delivery, given(status=options.status))


async def redeliver(connection: Connection, options: Namespace) -> int:
    """Send events again."""
    for delivery_id in options.ids:
        path = f"/v1/webhooks/{options.webhook_id}/deliveries/{delivery_id}/redeliver"
        response = await connection.send("POST", path, repeatable=False)
        if options.json:
            print_json(response.content)
        else:
            print(display.describe_delivery(response.content))
    return DONE


async def show_audit_log(connection: Connection, options: Namespace) -> int:
    """Show the newest actions of the account."""
    return await _list(connection, options, "/v1/audit-logs", display.describe_action, limit=options.limit)


async def list_collections(connection: Connection, options: Namespace) -> int:
    """List the collections, newest first."""
    return await _list(connection, options, "/v1/collections", display.describe_collection)


async def _list(
    connection: Connection,
    options: Namespace,
    path: str,
    describe: Callable[[bytes], str],
    parameters: Mapping[str, str] = NO_PARAMETERS,
    *,
    limit: int | None = None,
) -> int:
    """Print each item of a listing on a line."""
    async for item in connection.list_items(path, limit, parameters, RawPage):
        if options.json:
            print_json(bytes(item))
        else:
            print(describe(bytes(item)))
    return DONE
