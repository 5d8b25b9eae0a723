"""The tables. `owner_id` leads the key of every owned table, so that they can be distributed by owner."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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
    cast,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pipeline.types import Status

INDEXED_DIMENSIONS = (384, 768, 1024)
"""Vector lengths with an HNSW index; vectors of another length are searched exactly."""

HNSW_OPTIONS = {"m": 16, "ef_construction": 64}


SERVICE_ROLE = "sluice_service"
"""Role of the API and the workers: owns nothing, sees only the rows of the user it acts for."""

USER_SETTING = "sluice.user_id"
"""Session setting that row-level security compares with the owner of a row."""
EMAIL_SETTING = "sluice.email"
"""Session setting with the address that logs in, when nobody is known yet."""


class Base(DeclarativeBase):
    """Root of the mapped classes; names constraints so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB, bytes: LargeBinary}  # noqa: RUF012


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    """Lower case."""
    password_hash: Mapped[str]
    """argon2id, with its parameters."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Ingested:
    """Columns of what becomes searchable. Written by `pipeline.db.queue` alone, but for the first insert."""

    status: Mapped[str] = mapped_column(server_default=Status.PENDING)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    progress: Mapped[float] = mapped_column(server_default="0")
    """Share of the work done, 0 to 1."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """How often a worker has begun; attempts given back do not count."""
    chunks: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ingested_at: Mapped[datetime | None]


def _status_rules() -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint("status IN ('pending', 'processing', 'ready', 'failed')", name="status"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="failed_has_reason"),
    )


class Document(Ingested, Base):
    """An uploaded file and what became of it."""

    __tablename__ = "documents"
    __table_args__ = (Index(None, "owner_id", "sha256", unique=True), *_status_rules())

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7: newest last in key order."""
    filename: Mapped[str]
    """For display only; never a path."""
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes]
    pages: Mapped[int | None]
    pages_with_text: Mapped[int | None]
    chunks_reused: Mapped[int] = mapped_column(server_default="0")
    """Chunks of the present version whose embedding was taken from the version before."""
    title_words: Mapped[list[str]] = mapped_column(
        ARRAY(Text), Computed("sluice_split_title(filename)", persisted=True), deferred=True
    )
    """Words of the file name, by which a question may name the document."""


class Note(Ingested, Base):
    """A note that its owner wrote here."""

    __tablename__ = "notes"
    __table_args__ = _status_rules()

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7."""
    title: Mapped[str]
    body: Mapped[str]
    title_words: Mapped[list[str]] = mapped_column(
        ARRAY(Text), Computed("sluice_split_title(title)", persisted=True), deferred=True
    )


def _to_document(*, name: str) -> ForeignKeyConstraint:
    """Rule of the rows that go when their document goes."""
    return ForeignKeyConstraint(
        ["owner_id", "document_id"], ["documents.owner_id", "documents.id"], ondelete="CASCADE", name=name
    )


class DocumentSlice(Base):
    """A slice of a document's original bytes, so that no process ever holds a whole file."""

    __tablename__ = "document_slices"
    __table_args__ = (_to_document(name="fk_document_slices_documents"),)

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    """0, 1, 2, …"""
    data: Mapped[bytes]


class DocumentPage(Base):
    """Text of a page. The texts of all pages, one after the other, are the extracted text."""

    __tablename__ = "document_pages"
    __table_args__ = (_to_document(name="fk_document_pages_documents"),)

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    page: Mapped[int] = mapped_column(primary_key=True)
    """Counts from 1."""
    start: Mapped[int]
    """Where the page begins in the extracted text, in characters."""
    length: Mapped[int]
    """In characters."""
    text: Mapped[str]


class Chunk(Base):
    """A passage of a document or of a note, and its embedding; while the model changes, a row for each model."""

    __tablename__ = "chunks"
    __table_args__ = (
        _to_document(name="fk_chunks_documents"),
        ForeignKeyConstraint(
            ["owner_id", "note_id"], ["notes.owner_id", "notes.id"], ondelete="CASCADE", name="fk_chunks_notes"
        ),
        Index(None, "owner_id", "document_id", "ordinal", "model", unique=True),
        Index(None, "owner_id", "note_id", "ordinal", "model", unique=True),
        Index(None, "owner_id", "lexemes", postgresql_using="gin"),
        CheckConstraint("num_nonnulls(document_id, note_id) = 1", name="one_source"),
    )

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID | None]
    note_id: Mapped[UUID | None]
    ordinal: Mapped[int]
    """0 … n-1 within its document or note."""
    page: Mapped[int]
    page_end: Mapped[int]
    start: Mapped[int]
    """Character offsets into the extracted text: `text` is exactly that slice."""
    end: Mapped[int]
    text: Mapped[str]
    lexemes: Mapped[str] = mapped_column(TSVECTOR)
    """The text's words, stemmed as `TEXT_SEARCH_CONFIG` says, and their places."""
    model: Mapped[str]
    """Embedding model that made the vector."""
    embedded_sha256: Mapped[bytes | None]
    """Of exactly the text that the model got. Null in rows that are older than this column."""
    embedding: Mapped[Any] = mapped_column(HALFVEC())
    """Unit length; of any dimension, so that models can change. Half precision: that costs no place in an answer."""


def _embedding_index(dimension: int) -> Index:
    """HNSW index over the vectors of one length; a vector column without a length cannot have one."""
    expression = cast(Chunk.embedding, HALFVEC(dimension)).label("vector")
    return Index(
        f"ix_chunks_embedding_{dimension}",
        expression,
        postgresql_using="hnsw",
        postgresql_with=HNSW_OPTIONS,
        postgresql_ops={"vector": "halfvec_cosine_ops"},
        postgresql_where=func.vector_dims(Chunk.embedding) == dimension,
    )


EMBEDDING_INDEXES = tuple(_embedding_index(dimension) for dimension in INDEXED_DIMENSIONS)


class EmbeddingModel(Base):
    """A model that has a part in searches. Written by the operator's commands alone, but for the very first row."""

    __tablename__ = "embedding_models"
    __table_args__ = (UniqueConstraint("state"), CheckConstraint("state IN ('active', 'next')", name="state"))

    name: Mapped[str] = mapped_column(primary_key=True)
    """As in EMBEDDING_MODEL and in `Chunk.model`."""
    state: Mapped[str]
    """`active`: it answers. `next`: its vectors are being made, and it will take over. One of each at most."""
    since: Mapped[datetime] = mapped_column(server_default=func.now())


class Job(Base):
    """Work to be done, and who does it: the queue. The row goes when the work is done.

    No foreign key: on a distributed PostgreSQL this narrow table stays local while the data spreads.
    """

    __tablename__ = "jobs"

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """A `JobKind`."""
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The document or note that the job is about."""
    virtual_start: Mapped[int] = mapped_column("turn", BigInteger)
    """Place in the queue: an owner's n-th waiting job goes before anybody's n+1-th; background work behind all."""
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Not claimed before; later than `queued_at` after a failure."""
    lease_token: Mapped[UUID | None]
    """Set while a worker holds the job; every write of that worker names it."""
    lease_until: Mapped[datetime | None]
    """By the database's clock."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts that ended with an error worth another try."""
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts whose worker went silent."""
    request_id: Mapped[str | None]
    """Of the request that queued it, for the logs."""
    size_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Of the document; 0 of a note. Stands here so that one look at this table says how much of an owner waits."""


Index("ix_jobs_waiting", Job.virtual_start, Job.queued_at, postgresql_where=Job.lease_token.is_(None))
Index("ix_jobs_leased", Job.lease_until, postgresql_where=Job.lease_token.is_not(None))
Index("ix_jobs_owner_turn", Job.owner_id, Job.virtual_start)


class AuditLog(Base):
    """Who did what, when. Rows are only ever added."""

    __tablename__ = "audit_logs"
    __table_args__ = (Index(None, "actor_user_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor_user_id: Mapped[UUID | None]
    """Null where no account is known, as for a failed login with an unknown address."""
    event_type: Mapped[str]
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LoginFailure(Base):
    """Failed logins of an account from an address, for the pause between guesses."""

    __tablename__ = "login_failures"

    email: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime]
    paused_until: Mapped[datetime]
