"""What handlers ask for."""

from litestar.datastructures import State
from litestar.di import NamedDependency

from pipeline.runtime import Runtime

RuntimeDependency = NamedDependency[Runtime]


async def provide_runtime(state: State) -> Runtime:
    """The runtime that the lifespan opened."""
    runtime: Runtime = state.runtime
    return runtime
