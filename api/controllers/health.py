"""Health checks and metrics for load balancers, monitoring and people. They have no version."""

import hmac

import msgspec
from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.openapi import ResponseSpec
from pydantic import SecretStr

from api.auth import PUBLIC, find_bearer_token
from api.deps import RuntimeDependency
from api.http.operations import PublicOperation, problems
from pipeline import metrics
from pipeline.errors import NotAuthenticated
from pipeline.operations import health


class Liveness(msgspec.Struct):
    """Response of a running process."""

    status: str


class Readiness(msgspec.Struct):
    """Whether the process can serve requests, and the state of each part."""

    status: str
    checks: health.Checks


@get(
    "/metrics",
    opt=PUBLIC,
    operation_class=PublicOperation,
    tags=["Health"],
    summary="Get Prometheus metrics",
    media_type="text/plain",
    responses=problems(401),
)
async def show_metrics(
    request: Request[None, None, State], runtime: RuntimeDependency, state: State
) -> Response[bytes]:
    """Return metrics: request and ingestion times, counts by status, and the state of Redis.

    Needs a token only if the operator has set `METRICS_TOKEN`. The values are up to a second old, the counts by status
    up to 5 seconds.
    """
    _require_metrics_token(request, runtime.settings.metrics_token)
    text: health.MetricsText = state.metrics_text
    return Response(await text.read(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _require_metrics_token(request: Request[None, None, State], required: SecretStr | None) -> None:
    if required is None:
        return
    token = find_bearer_token(request.headers) or ""
    if not hmac.compare_digest(token.encode(), required.get_secret_value().encode()):
        raise NotAuthenticated("The metrics need a token. Send `Authorization: Bearer <METRICS_TOKEN>`.")


NOT_READY = {503: ResponseSpec(Readiness, generate_examples=False, description="A required part is not ready.")}


class HealthController(Controller):
    """`/health/live` checks nothing; `/health/ready` checks every part."""

    path = "/health"
    tags = ("Health",)
    opt = PUBLIC

    @get("/live", operation_class=PublicOperation, summary="Check that the process is running")
    async def live(self) -> Liveness:
        """Return 200 while the process is running. PostgreSQL and Redis are not checked."""
        return Liveness(status="live")

    @get(
        "/ready",
        operation_class=PublicOperation,
        summary="Check that the process can serve requests",
        responses=NOT_READY,
    )
    async def ready(self, runtime: RuntimeDependency) -> Response[Readiness]:
        """Return 200 if requests can be served, 503 otherwise.

        503 means that the database is unavailable, that its schema is not at the expected migration, or that the
        embedding model is still loading or is the wrong one. Redis is reported but not required.
        """
        checks = await health.check(runtime)
        if checks.are_ready:
            return Response(Readiness("ready", checks))
        return Response(Readiness("unavailable", checks), status_code=503, headers={"Retry-After": "5"})
