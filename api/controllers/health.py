"""Health checks and metrics for load balancers, monitoring and people. They need no token and have no version."""

import msgspec
from litestar import Controller, Response, get
from litestar.openapi import ResponseSpec

from api.auth import PUBLIC
from api.deps import RuntimeDependency
from api.http.operations import PublicOperation
from pipeline import metrics
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
)
async def show_metrics(runtime: RuntimeDependency) -> Response[bytes]:
    """Return metrics: request and ingestion times, counts by status, and the state of Redis."""
    return Response(await health.measure(runtime), headers={"Content-Type": metrics.CONTENT_TYPE})


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
