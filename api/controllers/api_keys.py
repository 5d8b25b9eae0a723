"""API keys: create, list, read and revoke."""

from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.permissions import ACCOUNT_ONLY
from api.schemas import ApiKeyDraft
from pipeline.types import ApiKey, ApiKeyList, KeyDraft, NewApiKey
from pipeline.use_cases import api_keys
from pipeline.use_cases.key_checks import ApiKeys


class ApiKeyController(Controller):
    """The caller's API keys. Another account's id and an unknown id give the same 404."""

    path = "/v1/api-keys"
    tags = ("API keys",)
    opt = ACCOUNT_ONLY

    @post("/", summary="Create an API key", responses=problems(401, 403, 409, 422, 507))
    async def create(self, request: UserRequest, data: JSONBody[ApiKeyDraft], runtime: RuntimeDependency) -> NewApiKey:
        """Create a key and return its `secret`, which is shown only here.

        A program sends the secret in place of an access token: `Authorization: Bearer sk-…`. A key needs the scope
        `read` to read, search and ask, and `write` to upload, change and delete. Neither includes the other. Without
        `scopes`, it has both. It cannot manage the account. With `collection_ids`, it sees and changes only what is in
        these collections. When they are all deleted, it sees nothing. 409 `too_many_keys` if the account has 100 keys.
        """
        draft = KeyDraft(data.name, data.scopes, data.collection_ids, data.expires_at)
        return await api_keys.create(runtime, request.user, draft)

    @get("/", summary="List API keys, newest first", responses=problems(401, 403, 422))
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> ApiKeyList:
        """List the account's keys, page by page, without their secrets. Expired keys stay until they are revoked."""
        return await api_keys.list_page(runtime, request.user, limit=limit, cursor=cursor)

    @get("/{key_id:uuid}", summary="Get an API key", responses=problems(401, 403, 404))
    async def show(self, request: UserRequest, runtime: RuntimeDependency, key_id: FromPath[UUID]) -> ApiKey:
        """Return a key without its secret."""
        return await api_keys.get(runtime, request.user, key_id)

    @delete("/{key_id:uuid}", summary="Revoke an API key", responses=problems(401, 403, 404, 507))
    async def revoke(
        self, request: UserRequest, runtime: RuntimeDependency, state: State, key_id: FromPath[UUID]
    ) -> None:
        """Revoke a key. Within a second, every process refuses it and ends its long requests."""
        await api_keys.revoke(runtime, request.user, key_id)
        keys: ApiKeys = state.api_keys
        keys.forget()
