"""Health, for load balancers and people: no token, no version."""

import msgspec
from litestar import Controller, Response, get
from litestar.openapi import ResponseSpec

from api.auth import PUBLIC
from api.deps import RuntimeDependency
from api.http.operations import PublicOperation
from pipeline import metrics
from pipeline.operations import health


class Liveness(msgspec.Struct):
    """The process serves."""

    status: str


class Readiness(msgspec.Struct):
    """Whether the process can do its work, and what stands in the way."""

    status: str
    checks: health.Checks


@get(
    "/metrics",
    opt=PUBLIC,
    operation_class=PublicOperation,
    tags=["Health"],
    summary="Figures for Prometheus",
    media_type="text/plain",
)
async def show_metrics(runtime: RuntimeDependency) -> Response[bytes]:
    """Return request and ingestion times, counts by status, and the state of Redis."""
    return Response(await health.measure(runtime), headers={"Content-Type": metrics.CONTENT_TYPE})


NOT_READY = {503: ResponseSpec(Readiness, generate_examples=False, description="Something is missing.")}


class HealthController(Controller):
    """`/health/live` looks at nothing, `/health/ready` at everything."""

    path = "/health"
    tags = ("Health",)
    opt = PUBLIC

    @get("/live", operation_class=PublicOperation, summary="Does the process serve?")
    async def live(self) -> Liveness:
        """Answer while the process serves; touches neither PostgreSQL nor Redis."""
        return Liveness(status="live")

    @get("/ready", operation_class=PublicOperation, summary="Can the process do its work?", responses=NOT_READY)
    async def ready(self, runtime: RuntimeDependency) -> Response[Readiness]:
        """Answer 503 while the database is away, migrations are behind, or the model is not loaded or the wrong one."""
        checks = await health.check(runtime)
        if checks.are_ready:
            return Response(Readiness("ready", checks))
        return Response(Readiness("unavailable", checks), status_code=503, headers={"Retry-After": "5"})
