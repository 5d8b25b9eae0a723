"""Health, for load balancers and people: no token, no version."""

import msgspec
from litestar import Controller, Response, get

from api.auth import PUBLIC
from api.deps import RuntimeDependency
from pipeline import health


class Liveness(msgspec.Struct):
    """The process serves."""

    status: str


class Readiness(msgspec.Struct):
    """Whether the process can do its work, and what stands in the way."""

    status: str
    checks: health.Checks


class HealthController(Controller):
    """`/health/live` looks at nothing, `/health/ready` at everything."""

    path = "/health"
    tags = ("Health",)
    opt = PUBLIC

    @get("/live", summary="Does the process serve?")
    async def live(self) -> Liveness:
        """Answer while the process serves; touches neither PostgreSQL nor Redis."""
        return Liveness(status="live")

    @get("/ready", summary="Can the process do its work?")
    async def ready(self, runtime: RuntimeDependency) -> Response[Readiness]:
        """Answer 503 while the database is away, migrations are behind or the model is not loaded."""
        checks = await health.check(runtime)
        if checks.are_ready:
            return Response(Readiness("ready", checks))
        return Response(Readiness("unavailable", checks), status_code=503, headers={"Retry-After": "5"})
