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
from pipeline.types import EVERYTHING, Caller, Selection
from pipeline.use_cases import collections

CHAT = "sluice"
"""Model of chats and responses: it answers from the caller's documents."""


OF_COLLECTION = f"{CHAT}/"
"""What stands before the name of a collection in the name of a model that answers from it alone."""
MAX_COLLECTIONS = 100
"""Maximum number of collections in the list of models."""


class Model(msgspec.Struct):
    """A model. `created` is 0 if the time is not known."""

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
    async def list_all(self, request: UserRequest, runtime: RuntimeDependency) -> ModelList:
        """List the models of answers and the one of embeddings. There is one of answers for each collection."""
        page = await collections.list_page(runtime, request.user, limit=MAX_COLLECTIONS, cursor=None)
        named = [Model(f"{OF_COLLECTION}{one.name}", created=int(one.created_at.timestamp())) for one in page.items]
        return ModelList([Model(CHAT), Model(runtime.encoder.model_name), *named])

    @get("/{model:path}")
    async def show(self, request: UserRequest, runtime: RuntimeDependency, model: FromPath[str]) -> Model:
        """Return a model. Its name may contain slashes."""
        name = model.removeprefix("/")
        if name.startswith(OF_COLLECTION):
            await select_documents(runtime, request.user, name)
            return Model(name)
        return find_model([Model(CHAT), Model(runtime.encoder.model_name)], name)


async def select_documents(runtime: Runtime, caller: Caller, model: str) -> Selection:
    """Return what a model of answers searches: everything, or the collection that it names.

    Raises NotFound if there is no such model.
    """
    if model.startswith(OF_COLLECTION) and "\0" not in model:
        collection = await collections.find_by_name(runtime, caller, model.removeprefix(OF_COLLECTION))
        return Selection([collection.id])
    find_model([Model(CHAT)], model)
    return EVERYTHING


def find_model(models: list[Model], name: str) -> Model:
    """Return the model of this name.

    Raises NotFound, which names those that exist.
    """
    for model in models:
        if model.id == name:
            return model
    names = ", ".join(f"`{model.id}`" for model in models)
    raise NotFound(f"This model does not exist. `model` is one of: {names}.")
