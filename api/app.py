"""The Litestar application: controllers, errors and the lifespan of the runtime."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from api.auth import BearerAuthentication
from api.controllers.api_keys import ApiKeyController
from api.controllers.ask import AskController
from api.controllers.audit import AuditController
from api.controllers.auth import AuthController
from api.controllers.collections import CollectionController
from api.controllers.dify import DifyController
from api.controllers.documents import DocumentController
from api.controllers.events import EventController, OpenStreams
from api.controllers.health import HealthController, show_metrics
from api.controllers.librechat import LibreChatController
from api.controllers.mcp.endpoint import answer_agent
from api.controllers.notes import NoteController
from api.controllers.openai.chat import ChatController
from api.controllers.openai.embeddings import EmbeddingController
from api.controllers.openai.file_batches import FileBatchController
from api.controllers.openai.files import FileController
from api.controllers.openai.models import ModelController
from api.controllers.openai.responses import ResponseController
from api.controllers.openai.store_files import StoreFileController
from api.controllers.openai.store_search import StoreSearchController
from api.controllers.openai.vector_stores import VectorStoreController
from api.controllers.process import ProcessController
from api.controllers.rerank import RerankController
from api.controllers.search import SearchController
from api.controllers.webhooks import WebhookController
from api.deps import provide_runtime
from api.errors import answer_framework_error, answer_known_error, answer_unforeseen_error
from api.http.allow_header import send_allowed_methods
from api.http.body_deadlines import BodyDeadlines
from api.http.cors import make_cors
from api.http.request_ids import send_request_id
from api.http.request_log import Observation, observe_response
from api.http.security_headers import make_security_headers
from api.http.strict_json import StrictRequest
from api.openapi.complete import complete
from api.openapi.config import CONFIG
from api.permissions import require_permission
from api.ratelimit import RateLimiter, send_rate_limit
from api.tokens import LibreChatTokens, Tokens
from api.web.docs import docs_router
from api.web.page import page_router
from api.web.security_txt import show_security_contact
from pipeline.errors import SluiceError
from pipeline.operations.health import MetricsText
from pipeline.runtime import Runtime, open_runtime
from pipeline.sandbox.pool import require_layers
from pipeline.settings import Settings
from pipeline.use_cases.key_checks import ApiKeys
from pipeline.use_cases.sessions import Sessions
from pipeline.use_cases.upload_room import UploadRoom

MAX_JSON_BYTES = 1024 * 1024

OpenRuntime = Callable[..., AbstractAsyncContextManager[Runtime]]
"""`pipeline.runtime.open_runtime`, or the same function with some arguments bound."""


def create_app(settings: Settings, *, open_runtime: OpenRuntime = open_runtime) -> Litestar:
    """Build the application. It connects to nothing until it is served.

    Raises SettingsError if JWT_SECRET or DATABASE_URL is missing, or a layer of the sandbox that is required.
    """
    require_layers(settings)
    tokens = Tokens(settings.signing_secret, timedelta(minutes=settings.jwt_ttl_minutes))
    librechat = settings.librechat_secret
    _ = settings.sqlalchemy_url  # raises SettingsError if DATABASE_URL is missing

    @asynccontextmanager
    async def run_runtime(app: Litestar) -> AsyncIterator[None]:
        async with open_runtime(settings, database_timeout_seconds=settings.database_timeout_seconds) as runtime:
            runtime.changes.start()
            if runtime.reranker:
                runtime.reranker.start()
            app.state.runtime = runtime
            app.state.tokens = tokens
            if librechat:
                app.state.librechat_tokens = LibreChatTokens(librechat.get_secret_value())
            app.state.sessions = Sessions(runtime.database, seconds=runtime.waits.token_check)
            app.state.api_keys = ApiKeys(runtime.database, seconds=runtime.waits.key_check)
            app.state.open_streams = OpenStreams()
            app.state.upload_room = UploadRoom()
            app.state.metrics_text = MetricsText(runtime)
            app.state.limiter = RateLimiter(runtime.settings, runtime.redis_breaker)
            try:
                yield
            finally:
                await app.state.api_keys.close()
                await app.state.limiter.close()

    app = Litestar(
        route_handlers=[
            AuthController,
            CollectionController,
            ApiKeyController,
            DocumentController,
            EventController,
            NoteController,
            SearchController,
            AskController,
            AuditController,
            ModelController,
            FileController,
            VectorStoreController,
            StoreFileController,
            FileBatchController,
            StoreSearchController,
            EmbeddingController,
            ChatController,
            WebhookController,
            ResponseController,
            RerankController,
            ProcessController,
            DifyController,
            *([LibreChatController] if librechat else []),
            HealthController,
            answer_agent,
            show_metrics,
            docs_router,
            page_router,
            show_security_contact,
        ],
        lifespan=[run_runtime],
        dependencies={"runtime": Provide(provide_runtime)},
        middleware=[
            Observation(),
            BodyDeadlines(),
            DefineMiddleware(BearerAuthentication, exclude_from_auth_key="public"),
        ],
        exception_handlers={
            SluiceError: answer_known_error,
            HTTPException: answer_framework_error,
            Exception: answer_unforeseen_error,
        },
        guards=[require_permission],
        cors_config=make_cors(settings.cors_origins),
        before_send=[
            make_security_headers(settings.public_url),
            send_request_id,
            send_rate_limit,
            send_allowed_methods,
            observe_response,
        ],
        request_class=StrictRequest,
        request_max_body_size=MAX_JSON_BYTES,
        openapi_config=CONFIG,
        # Litestar would replace the handlers that `pipeline.logs` sets.
        logging_config=None,
    )
    complete(app.openapi_schema)
    return app
