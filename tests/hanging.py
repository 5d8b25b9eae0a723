"""A pytest plugin: a test that hangs is one failed test, and the tests after it are not disturbed.

pytest-timeout's method "signal" raises in the main thread. That ends a blocking call such as `subprocess.run`, in a
test or in a fixture, and the test fails alone. But all coroutines of a test process share one event loop, and the
signal would leave it in the middle of one. So asyncio cancels a coroutine that hangs, a little earlier.

The method "thread" would kill the whole test process. Neither method ends native code that never returns to Python.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import pytest

MARGIN_SECONDS = 10.0
"""Time between the end of a coroutine and the signal."""


def _read_limit(config: pytest.Config) -> float:
    return max(1.0, float(config.getoption("timeout") or config.getini("timeout")) - MARGIN_SECONDS)


def _bound_coroutine(function: Callable[..., Coroutine[Any, Any, Any]], seconds: float) -> Callable[..., Any]:
    @functools.wraps(function)
    async def bounded(*arguments: Any, **keywords: Any) -> Any:
        async with asyncio.timeout(seconds):
            return await function(*arguments, **keywords)

    return bounded


def _bound_generator(function: Callable[..., AsyncIterator[Any]], seconds: float) -> Callable[..., Any]:
    @functools.wraps(function)
    async def bounded(*arguments: Any, **keywords: Any) -> AsyncIterator[Any]:
        steps = function(*arguments, **keywords)
        async with asyncio.timeout(seconds):
            value = await anext(steps)
        yield value
        async with asyncio.timeout(seconds):
            await anext(steps, None)

    return bounded


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _bound_coroutine(pyfuncitem.obj, _read_limit(pyfuncitem.config))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Generator[None, object, object]:
    function = fixturedef.func
    if inspect.iscoroutinefunction(function):
        fixturedef.func = _bound_coroutine(function, _read_limit(request.config))
    elif inspect.isasyncgenfunction(function):
        fixturedef.func = _bound_generator(function, _read_limit(request.config))
    try:
        return (yield)
    finally:
        fixturedef.func = function
