"""Webhooks: create, list, show and delete receivers of events, list their deliveries, and send an event again."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.permissions import ACCOUNT_ONLY
from api.schemas import WebhookDraft
from pipeline.types import Delivery, DeliveryList, DeliveryStatus, NewWebhook, Webhook, WebhookList
from pipeline.use_cases import webhooks

StatusFilter = Annotated[DeliveryStatus | None, QueryParameter(description="Return only deliveries with this status.")]


class WebhookController(Controller):
    """The caller's webhooks. Another account's id and an unknown id give the same 404."""

    path = "/v1/webhooks"
    tags = ("Webhooks",)
    opt = ACCOUNT_ONLY  # a webhook would outlive a key that was revoked

    @post("/", summary="Create a webhook", responses=problems(401, 403, 409, 422, 507))
    async def create(
        self, request: UserRequest, data: JSONBody[WebhookDraft], runtime: RuntimeDependency
    ) -> NewWebhook:
        """Send events about the caller's documents to a URL. The secret that signs them is shown only here."""
        return await webhooks.create(runtime, request.user, data.url, data.events, data.secret)

    @get("/", summary="List webhooks, newest first", responses=problems(401, 403, 422))
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> WebhookList:
        """List the caller's webhooks, page by page."""
        return await webhooks.list_page(runtime, request.user, limit=limit, cursor=cursor)

    @get("/{webhook_id:uuid}", summary="Get a webhook", responses=problems(401, 403, 404))
    async def show(self, request: UserRequest, runtime: RuntimeDependency, webhook_id: FromPath[UUID]) -> Webhook:
        """Return a webhook, without its secret."""
        return await webhooks.get(runtime, request.user, webhook_id)

    @delete("/{webhook_id:uuid}", summary="Delete a webhook", responses=problems(401, 403, 404, 507))
    async def remove(self, request: UserRequest, runtime: RuntimeDependency, webhook_id: FromPath[UUID]) -> None:
        """Delete a webhook. Events that were not delivered yet are not sent."""
        await webhooks.delete(runtime, request.user, webhook_id)

    @get(
        "/{webhook_id:uuid}/deliveries",
        summary="List the deliveries of a webhook, newest first",
        responses=problems(401, 403, 404, 422),
    )
    async def list_deliveries(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        webhook_id: FromPath[UUID],
        status: StatusFilter = None,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> DeliveryList:
        """List the events of the last 30 days. Those with the status `dead` were given up after a day of tries."""
        return await webhooks.list_deliveries(
            runtime, request.user, webhook_id, status=status, limit=limit, cursor=cursor
        )

    @post(
        "/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/redeliver",
        summary="Send an event again",
        status_code=202,
        responses=problems(401, 403, 404, 409, 507),
    )
    async def redeliver(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        webhook_id: FromPath[UUID],
        delivery_id: FromPath[UUID],
    ) -> Delivery:
        """Send an event that was delivered, or given up, again. It has the same `webhook-id` as before."""
        return await webhooks.redeliver(runtime, request.user, webhook_id, delivery_id)
