"""Dependencies that Litestar injects into handlers."""

from litestar.datastructures import State
from litestar.di import NamedDependency

from pipeline.runtime import Runtime

RuntimeDependency = NamedDependency[Runtime]


async def provide_runtime(state: State) -> Runtime:
    """Return the runtime that the application opened at start."""
    runtime: Runtime = state.runtime
    return runtime
