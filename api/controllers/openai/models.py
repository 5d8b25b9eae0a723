"""`GET /v1/models`: the names that clients may send as `model`."""

from typing import Literal

import msgspec
from litestar import Controller, get
from litestar.params import FromPath

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from pipeline.errors import NotFound
from pipeline.runtime import Runtime

CHAT = "sluice"
"""Model of chats and responses: it answers from the caller's documents."""


class Model(msgspec.Struct):
    """A model. The time at which it was made is not known."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "sluice"


class ModelList(msgspec.Struct):
    """All models."""

    data: list[Model]
    object: Literal["list"] = "list"


class ModelController(Controller):
    """Models in the format of OpenAI."""

    path = "/v1/models"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @get("/")
    async def list_all(self, request: UserRequest, runtime: RuntimeDependency) -> ModelList:  # noqa: ARG002 - it requires a token
        """List the model of answers and the one of embeddings."""
        return ModelList(_list_models(runtime))

    @get("/{model:path}")
    async def show(self, request: UserRequest, runtime: RuntimeDependency, model: FromPath[str]) -> Model:  # noqa: ARG002 - it requires a token
        """Return a model. Its name may contain slashes."""
        return find_model(_list_models(runtime), model.removeprefix("/"))


def _list_models(runtime: Runtime) -> list[Model]:
    return [Model(CHAT), Model(runtime.encoder.model_name)]


def find_model(models: list[Model], name: str) -> Model:
    """Return the model of this name.

    Raises NotFound, which names those that exist.
    """
    for model in models:
        if model.id == name:
            return model
    names = ", ".join(f"`{model.id}`" for model in models)
    raise NotFound(f"This model does not exist. `model` is one of: {names}.")
