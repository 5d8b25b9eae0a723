"""The tables. `owner_id` is the first column of every owned table's key, so the tables can be distributed by owner."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    and_,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedSQLExpression, column_property, mapped_column

from pipeline.db.vector_type import HalfVector
from pipeline.types import DeliveryStatus, Status

INDEXED_DIMENSIONS = (384, 768, 1024)
"""Vector dimensions with an HNSW index. Vectors of other dimensions are searched exactly."""

HNSW_OPTIONS = {"m": 16, "ef_construction": 64}


SERVICE_ROLE = "sluice_service"
"""Role of the API and the workers. It owns nothing and sees only the rows of the user it acts for."""

USER_SETTING = "sluice.user_id"
"""Session setting that row-level security compares with the owner of a row."""
COLLECTIONS_SETTING = "sluice.collections"
"""Session setting with the ids of the collections to which a caller is bound, as an array. Empty if not bound."""
EMAIL_SETTING = "sluice.email"
"""Session setting with the e-mail address of a login, before the user's id is known."""


class Base(DeclarativeBase):
    """Root of the mapped classes. It names constraints, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's attribute, never changed
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        bytes: LargeBinary,
    }


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    """Lower case."""
    password_hash: Mapped[str]
    """argon2id hash, with its parameters."""
    token_generation: Mapped[int] = mapped_column(server_default="0")
    """Generation of the tokens that are valid. A new password starts the next one."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Invitation(Base):
    """A right to register once while registration is closed. The row is deleted when it is used."""

    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("secret_sha256"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    secret_sha256: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class ApiKey(Base):
    """A secret with which programs act for an account. The row is deleted when the key is revoked."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(None, "secret_sha256"),
        CheckConstraint("length(secret_sha256) = 32", name="secret_length"),
        CheckConstraint("scopes <@ '{read,write}' AND scopes <> '{}'", name="scopes"),
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7, so that the newest key is last in key order."""
    name: Mapped[str]
    """For display only."""
    secret_sha256: Mapped[bytes] = mapped_column(deferred=True)
    """The service can write this column but not read it."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """What the key may do, each a `Scope`."""
    is_bound: Mapped[bool]
    """True if the key reaches only its collections. It stays true after the last of them was deleted."""
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    """Written at most once a minute."""


class Ingested:
    """Columns of documents and notes. After the first insert, only `pipeline.db.queue` writes them."""

    status: Mapped[str] = mapped_column(server_default=Status.PENDING)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    progress: Mapped[float] = mapped_column(server_default="0")
    """Share of the work that is done, 0 to 1."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Number of attempts, not counting those that were given back."""
    chunks: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ingested_at: Mapped[datetime | None]


def _status_rules() -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint("status IN ('pending', 'processing', 'ready', 'failed')", name="status"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="failed_has_reason"),
    )


def _index_words(column: str) -> Index:
    """Return an index on words. Its new entries do not wait in a list, which would slow down searches."""
    return Index(None, "owner_id", column, postgresql_using="gin", postgresql_with={"fastupdate": "off"})


def _to_document(*, name: str) -> ForeignKeyConstraint:
    """Return the foreign key of rows that are deleted with their document."""
    return ForeignKeyConstraint(
        ["owner_id", "document_id"], ["documents.owner_id", "documents.id"], ondelete="CASCADE", name=name
    )


def _to_note(*, name: str) -> ForeignKeyConstraint:
    """Return the foreign key of rows that are deleted with their note."""
    return ForeignKeyConstraint(["owner_id", "note_id"], ["notes.owner_id", "notes.id"], ondelete="CASCADE", name=name)


def _to_collection(*, name: str) -> ForeignKeyConstraint:
    """Return the foreign key of rows that are deleted with their collection."""
    return ForeignKeyConstraint(
        ["owner_id", "collection_id"], ["collections.owner_id", "collections.id"], ondelete="CASCADE", name=name
    )


class CollectionDocument(Base):
    """Membership of a document in a collection, with attributes of its own."""

    __tablename__ = "collection_documents"
    __table_args__ = (
        _to_collection(name="fk_collection_documents_collections"),
        _to_document(name="fk_collection_documents_documents"),
        Index(None, "owner_id", "document_id"),
        Index("ix_collection_documents_added_at", "owner_id", "collection_id", "added_at", "document_id"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Strings, numbers and booleans."""
    added_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FileBatch(Base):
    """Documents that a client in the format of OpenAI put into a collection together. They may be gone since."""

    __tablename__ = "file_batches"
    __table_args__ = (
        _to_collection(name="fk_file_batches_collections"),
        Index(None, "owner_id", "collection_id", "id"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID]
    document_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CollectionNote(Base):
    """Membership of a note in a collection, with attributes of its own."""

    __tablename__ = "collection_notes"
    __table_args__ = (
        _to_collection(name="fk_collection_notes_collections"),
        _to_note(name="fk_collection_notes_notes"),
        Index(None, "owner_id", "note_id"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(primary_key=True)
    note_id: Mapped[UUID] = mapped_column(primary_key=True)
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Strings, numbers and booleans."""
    added_at: Mapped[datetime] = mapped_column(server_default=func.now())


def _count_members(is_member: ColumnElement[bool]) -> MappedSQLExpression[Any]:
    """Return the property with the number of a collection's documents or notes."""
    return column_property(select(func.count()).where(is_member).scalar_subquery())


class Collection(Base):
    """A named collection of an owner's documents and notes. Each may be in several collections."""

    __tablename__ = "collections"
    __table_args__ = (Index(None, "owner_id", "name", unique=True),)

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7, so that the newest collection is last in key order."""
    name: Mapped[str]
    given_name: Mapped[str | None]
    """Name that a client in the format of OpenAI gave, if it is not `name`: there, several may have the same."""
    description: Mapped[str] = mapped_column(server_default="")
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    documents: Mapped[int] = _count_members(
        and_(CollectionDocument.owner_id == owner_id, CollectionDocument.collection_id == id)  # noqa: A003 - the column
    )
    notes: Mapped[int] = _count_members(
        and_(CollectionNote.owner_id == owner_id, CollectionNote.collection_id == id)  # noqa: A003 - the column
    )


def _list_collections(
    membership: type[CollectionDocument | CollectionNote], is_member: ColumnElement[bool]
) -> MappedSQLExpression[Any]:
    """Return the property with the ids of the collections that a document or note is in."""
    ids = select(membership.collection_id).where(is_member).order_by(membership.collection_id)
    return column_property(func.array(ids.correlate_except(membership).scalar_subquery(), type_=ARRAY(Uuid)))


class Document(Ingested, Base):
    """An uploaded file and its status."""

    __tablename__ = "documents"
    __table_args__ = (
        Index(None, "owner_id", "sha256", unique=True),
        Index(None, "owner_id", "size_bytes"),
        _index_words("title_words"),
        *_status_rules(),
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7, so that the newest document is last in key order."""
    filename: Mapped[str]
    """For display only; never a path."""
    media_type: Mapped[str]
    charset: Mapped[str | None]
    """Label of the character set that the upload declared."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes]
    pages: Mapped[int | None]
    pages_with_text: Mapped[int | None]
    chunks_reused: Mapped[int] = mapped_column(server_default="0")
    """Number of the current version's chunks whose vector was copied from the previous version."""
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    """Warnings about the text of the current version, each as a `DocumentWarning`."""
    title_words: Mapped[list[str]] = mapped_column(
        ARRAY(Text), Computed("sluice_split_title(filename)", persisted=True), deferred=True
    )
    """Words of the file name. A question that contains them names the document."""
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    """JSON object of the owner's. SQLAlchemy needs the name `metadata` itself."""
    external_id: Mapped[str | None]
    """Id that the owner's own system gave the document."""
    purpose: Mapped[str | None]
    """What a client in the format of OpenAI wants the file for."""
    collection_ids: Mapped[list[UUID]] = _list_collections(
        CollectionDocument,
        and_(CollectionDocument.owner_id == owner_id, CollectionDocument.document_id == id),  # noqa: A003 - the column
    )


Index(None, Document.owner_id, Document.external_id, unique=True, postgresql_where=Document.external_id.is_not(None))


class Note(Ingested, Base):
    """A short text that its owner typed, and its status."""

    __tablename__ = "notes"
    __table_args__ = (Index(None, "owner_id", "size_bytes"), _index_words("title_words"), *_status_rules())

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7, so that the newest note is last in key order."""
    title: Mapped[str]
    body: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(Computed("octet_length(body)", persisted=True), deferred=True)
    """Size of the body in UTF-8."""
    title_words: Mapped[list[str]] = mapped_column(
        ARRAY(Text), Computed("sluice_split_title(title)", persisted=True), deferred=True
    )
    collection_ids: Mapped[list[UUID]] = _list_collections(
        CollectionNote,
        and_(CollectionNote.owner_id == owner_id, CollectionNote.note_id == id),  # noqa: A003 - the column
    )


class BrowserSession(Base):
    """A login that a browser keeps over a reload, by a refresh token in a cookie. The token itself is not stored."""

    __tablename__ = "sessions"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    generation: Mapped[int]
    """The account's token generation when the session began. The session ends with it."""
    number: Mapped[int] = mapped_column(server_default="0")
    """Number of the refresh token that is valid. Each use starts the next one."""
    renewed_at: Mapped[datetime]
    """Time at which the valid token was issued."""
    expires_at: Mapped[datetime]


class ApiKeyCollection(Base):
    """A collection to which an API key is bound."""

    __tablename__ = "api_key_collections"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner_id", "api_key_id"],
            ["api_keys.owner_id", "api_keys.id"],
            ondelete="CASCADE",
            name="fk_api_key_collections_api_keys",
        ),
        _to_collection(name="fk_api_key_collections_collections"),
        Index(None, "owner_id", "collection_id"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    api_key_id: Mapped[UUID] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(primary_key=True)


class DocumentSlice(Base):
    """A slice of a document's original bytes. Slices save the API and the workers from loading whole files."""

    __tablename__ = "document_slices"
    __table_args__ = (_to_document(name="fk_document_slices_documents"),)

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    """Number of the slice, from 0."""
    data: Mapped[bytes]


class DocumentPage(Base):
    """Text of a page. The texts of all pages, joined in order, are the extracted text."""

    __tablename__ = "document_pages"
    __table_args__ = (_to_document(name="fk_document_pages_documents"),)

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    page: Mapped[int] = mapped_column(primary_key=True)
    """Number of the page, from 1."""
    start: Mapped[int]
    """Offset of the page in the extracted text, in characters."""
    length: Mapped[int]
    """Length of the page's text, in characters."""
    text: Mapped[str]


def _embedding_index(table: str, embedding: Any, dimension: int) -> Index:
    """Return the HNSW index of one dimension. It casts the vectors, because the column itself has no dimension."""
    expression = cast(embedding, HALFVEC(dimension)).label("vector")
    return Index(
        f"ix_{table}_embedding_{dimension}",
        expression,
        postgresql_using="hnsw",
        postgresql_with=HNSW_OPTIONS,
        postgresql_ops={"vector": "halfvec_cosine_ops"},
        postgresql_where=func.vector_dims(embedding) == dimension,
    )


class Chunk(Base):
    """A chunk of a document or note.

    Processes of the release before use `model` and `embedding`, so these stay until a later migration.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        _to_document(name="fk_chunks_documents"),
        _to_note(name="fk_chunks_notes"),
        Index(None, "owner_id", "document_id", "ordinal", unique=True),
        Index(None, "owner_id", "note_id", "ordinal", unique=True),
        _index_words("lexemes"),
        Index(None, "words_version"),
        CheckConstraint("num_nonnulls(document_id, note_id) = 1", name="one_source"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID | None]
    note_id: Mapped[UUID | None]
    ordinal: Mapped[int]
    """Number of the chunk within its document or note, from 0."""
    page: Mapped[int]
    page_end: Mapped[int]
    start: Mapped[int]
    """Offset of the chunk in the extracted text or the note's body, in characters."""
    end: Mapped[int]
    """Offset of the chunk's end. `text` is exactly the slice from `start` to `end`."""
    text: Mapped[str]
    lexemes: Mapped[str] = mapped_column(TSVECTOR)
    """Words of the text and their positions. See `pipeline.stages.words.lexemes`."""
    heading_words: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Lexemes of the headings of the page. Null in rows older than this column."""
    heading_weights: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    """How much each of `heading_words` tells, at the same place. Only their proportion counts."""
    words_version: Mapped[int | None] = mapped_column(SmallInteger)
    """Version of the rules by which the words and headings were made. Null in rows older than this column."""
    model: Mapped[str | None] = mapped_column(deferred=True)
    embedded_sha256: Mapped[bytes | None]
    """Hash of the exact text that was embedded. Null in rows older than this column."""
    embedding: Mapped[Any | None] = mapped_column(HALFVEC(), deferred=True)


for _dimension in INDEXED_DIMENSIONS:
    _embedding_index("chunks", Chunk.embedding, _dimension)


class Vector(Base):
    """A vector of a chunk. While the model changes, a chunk has vectors of both models.

    The table is narrow, because searches compare all vectors of an owner.
    """

    __tablename__ = "vectors"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner_id", "chunk_id"], ["chunks.owner_id", "chunks.id"], ondelete="CASCADE", name="fk_vectors_chunks"
        ),
        # With the model and the window, vectors of a document are counted without reading them.
        Index(None, "owner_id", "document_id", "model", "window"),
        Index(None, "owner_id", "note_id", "model", "window"),
        CheckConstraint("num_nonnulls(document_id, note_id) = 1", name="one_source"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    chunk_id: Mapped[UUID] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    """Embedding model that made the vector."""
    window: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="0")
    """Number of the part of the chunk that was embedded, from 0."""
    document_id: Mapped[UUID | None]
    note_id: Mapped[UUID | None]
    embedding: Mapped[Any] = mapped_column(HalfVector())
    """Unit vector of any dimension, so that models can change. Half precision has no measurable effect on results."""


EMBEDDING_INDEXES = tuple(_embedding_index("vectors", Vector.embedding, dimension) for dimension in INDEXED_DIMENSIONS)


class SpokenLanguage(Base):
    """A language that an owner's documents or notes have, or had. Words of questions are stemmed in these languages."""

    __tablename__ = "spoken_languages"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)


class WordSample(Base):
    """The last sample of the words of an owner's chunks."""

    __tablename__ = "word_samples"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    chunks: Mapped[int]
    """Number of the owner's chunks when the sample was taken."""


class WordShare(Base):
    """A word that more than one chunk of the sample contains."""

    __tablename__ = "word_shares"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    word: Mapped[str] = mapped_column(primary_key=True)
    """Stem of the word, as in `Chunk.lexemes`."""
    share: Mapped[float] = mapped_column(REAL)
    """Share of the sampled chunks that contain the word, from 0 to 1."""


class EmbeddingModel(Base):
    """The active or the next embedding model. After the first row, only the operator's commands write this table."""

    __tablename__ = "embedding_models"
    __table_args__ = (UniqueConstraint("state"), CheckConstraint("state IN ('active', 'next')", name="state"))

    name: Mapped[str] = mapped_column(primary_key=True)
    """Name as in EMBEDDING_MODEL and in `Vector.model`."""
    state: Mapped[str]
    """`active` for the model that answers searches, `next` for the one that replaces it. At most one of each."""
    since: Mapped[datetime] = mapped_column(server_default=func.now())


class WorkerSecret(Base):
    """A secret that workers share. A migration creates it."""

    __tablename__ = "worker_secrets"
    __table_args__ = (CheckConstraint("length(secret) = 32", name="secret_length"),)

    purpose: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[bytes]


DELIVERIES = "webhook"
"""Kind of the jobs that deliver events. It is no `JobKind`, because such a job is about no document or note."""


class Job(Base):
    """A job of the queue. The row is deleted when the job is done.

    It has no foreign key, so that on a distributed PostgreSQL this narrow table can stay local.
    """

    __tablename__ = "jobs"

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """A `JobKind`, or DELIVERIES."""
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The document or note that the job is about, or the stream of deliveries."""
    virtual_start: Mapped[int] = mapped_column("turn", BigInteger)
    """Virtual start time, in the column `turn`: the lowest one is claimed first. See `pipeline.db.queue.enqueue`."""
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Time before which the job is not claimed. After a failure it is later than `queued_at`."""
    lease_token: Mapped[UUID | None]
    """Token of the worker that holds the job. Every write of that worker names it."""
    lease_until: Mapped[datetime | None]
    """End of the lease, by the database's clock. Each heartbeat changes it."""
    server_started: Mapped[datetime | None]
    """Start time of PostgreSQL at the last heartbeat. After a restart it differs from the current one."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Number of attempts that ended with an error that may be temporary."""
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Number of attempts whose lease expired."""
    step: Mapped[int] = mapped_column(server_default="0")
    """Number of the step that the current attempt takes, if the job is a suspect. See `pipeline.db.crashes`."""
    crash_step: Mapped[int | None]
    """Latest step at which the job has crashed as a suspect."""
    repeats: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Number of crashes at `crash_step`."""
    request_id: Mapped[str | None]
    """Id of the request that queued the job, for the logs."""
    size_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Size of the document; 0 for a note. It is kept here so that quotas and claims read only this table."""


Index("ix_jobs_waiting", Job.virtual_start, Job.queued_at, postgresql_where=Job.lease_token.is_(None))
Index("ix_jobs_leased", Job.lease_until, postgresql_where=Job.lease_token.is_not(None))
# Few jobs have crashed, so a claim finds the waiting suspects at once.
Index("ix_jobs_suspects", Job.available_at, postgresql_where=and_(Job.lease_token.is_(None), Job.crashes > 0))
Index("ix_jobs_owner_turn", Job.owner_id, Job.virtual_start)
Index(
    "ix_jobs_deliveries",
    Job.available_at,
    postgresql_where=and_(Job.kind == literal(DELIVERIES, literal_execute=True), Job.lease_token.is_(None)),
)


class Webhook(Base):
    """A receiver of an account's events."""

    __tablename__ = "webhooks"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    """May contain a token of the receiver, so it is never logged."""
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """`WebhookEvent`s."""
    secret: Mapped[bytes]
    """Key that signs the events. It is stored as it is, because every signature needs it."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """An event for one receiver. Written with the change of the document that it reports."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner_id", "webhook_id"],
            ["webhooks.owner_id", "webhooks.id"],
            ondelete="CASCADE",
            name="fk_webhook_deliveries_webhooks",
        ),
        Index(None, "owner_id", "stream_id", "position", unique=True),
        Index(None, "owner_id", "webhook_id", "id"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    webhook_id: Mapped[UUID]
    document_id: Mapped[UUID]
    """The document may be deleted."""
    stream_id: Mapped[UUID]
    """Id of the deliveries about one document to one receiver. See `pipeline.db.deliveries`."""
    position: Mapped[int]
    """Number of the delivery within its stream, from 1."""
    event: Mapped[str]
    """A `WebhookEvent`."""
    body: Mapped[str]
    """JSON of the request. It is the same in every try."""
    status: Mapped[str] = mapped_column(server_default=DeliveryStatus.PENDING)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    """Status of the receiver's last answer. Null if it gave none."""
    error: Mapped[str | None]
    """Why the last try failed."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempted_at: Mapped[datetime | None]


class AuditLog(Base):
    """An action of an account or of the operator. Rows are never changed."""

    __tablename__ = "audit_logs"
    __table_args__ = (Index(None, "actor_user_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor_user_id: Mapped[UUID | None]
    """Null if there is no account, as for a failed login with an unknown address, or if the operator acted."""
    event_type: Mapped[str]
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LoginFailure(Base):
    """Number of failed logins of an account from one network, for the pause after failed logins."""

    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_last_failed_at", "last_failed_at"),)

    email: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime]
    paused_until: Mapped[datetime]


class LoginSlowdown(Base):
    """Number of failed logins of an account from all networks, less those that are forgotten by now."""

    __tablename__ = "login_slowdowns"
    __table_args__ = (Index("ix_login_slowdowns_last_failed_at", "last_failed_at"),)

    email: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[float]
    """As of `last_failed_at`."""
    last_failed_at: Mapped[datetime]


class KnownNetwork(Base):
    """A network from which an account has logged in. The slowdown spares it."""

    __tablename__ = "known_networks"

    email: Mapped[str] = mapped_column(primary_key=True)
    network_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    last_login_at: Mapped[datetime]
