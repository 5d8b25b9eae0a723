"""What the role that migrates needs. It need not be a superuser: managed servers do not offer one."""

from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg

from pipeline.db.models import SERVICE_ROLE
from pipeline.db.session import translate_database_errors

FUNCTION_OWNER = "sluice_functions"
MINIMUM_POSTGRESQL = 16
MINIMUM_VECTOR = (0, 8)
"""Oldest usable version of pgvector."""

_FACTS = """
    SELECT current_setting('server_version_num')::int / 10000 AS postgresql,
        quote_ident(current_user) AS owner, quote_ident(current_database()) AS database,
        rolsuper AS is_superuser, rolcreaterole AS may_create_roles,
        (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) AS owns_database,
        (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS vector_available,
        (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector_version,
        (SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = 'vector') AS vector_trusted,
        ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)
            AND NOT pg_has_role(oid, 'USAGE WITH ADMIN OPTION') ORDER BY rolname DESC) AS foreign_roles
    FROM pg_roles WHERE rolname = current_user"""


REFUSED_LOGIN = (
    "PostgreSQL refuses the password of the owner: correct DATABASE_OWNER_URL. With Docker, the volume keeps its first "
    "POSTGRES_PASSWORD: see Rotate secrets in RUNBOOK.md"
)


class UnpreparedDatabase(Exception):
    """The owner cannot migrate. The message says what to do, and who must do it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about the role that migrates and its database. Names are quoted for SQL."""

    postgresql: int
    """Major version."""
    owner: str
    database: str
    is_superuser: bool
    may_create_roles: bool
    owns_database: bool
    vector_available: str | None
    """Version of pgvector that the server offers, or None."""
    vector_version: str | None
    """Version of pgvector in this database, or None."""
    vector_trusted: bool | None
    """True if the owner of a database may create the extension."""
    foreign_roles: list[str]
    """Roles of Sluice that exist, but that this role may not manage."""


async def require_prepared(owner_url: str) -> None:
    """Check that the owner can migrate.

    Raises UnpreparedDatabase, which names the SQL to run, and DatabaseUnavailable.
    """
    with translate_database_errors():
        try:
            connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=10)
        except asyncpg.InvalidPasswordError as error:
            raise UnpreparedDatabase(REFUSED_LOGIN) from error
        try:
            [row] = await connection.fetch(_FACTS, [SERVICE_ROLE, FUNCTION_OWNER])
        finally:
            await connection.close()
    if problems := list(find_problems(Facts(*row))):
        raise UnpreparedDatabase("; ".join(problems))


def find_problems(facts: Facts) -> Iterator[str]:
    """Yield what an administrator must do before the owner can migrate."""
    if facts.postgresql < MINIMUM_POSTGRESQL:
        yield f"PostgreSQL {facts.postgresql} is too old: install {MINIMUM_POSTGRESQL} or newer"
        return
    yield from _find_extension_problems(facts)
    if not facts.is_superuser:
        yield from _find_missing_rights(facts)


def _find_extension_problems(facts: Facts) -> Iterator[str]:
    version = facts.vector_version or facts.vector_available
    if version is None:
        yield "the server has no pgvector: install it on the database server"
    elif is_vector_too_old(version):
        yield (
            f"pgvector {version} is too old: install 0.8 or newer on the database server; "
            "if the extension exists, a superuser then runs in this database: ALTER EXTENSION vector UPDATE"
        )
    elif facts.vector_version is None and not (facts.is_superuser or facts.vector_trusted):
        yield "a superuser must run in this database: CREATE EXTENSION vector"


def _find_missing_rights(facts: Facts) -> Iterator[str]:
    if not facts.owns_database:
        yield f"a superuser must run: ALTER DATABASE {facts.database} OWNER TO {facts.owner}"
    if not facts.may_create_roles:
        yield f"a superuser must run: ALTER ROLE {facts.owner} CREATEROLE"
    if facts.foreign_roles:
        roles = ", ".join(facts.foreign_roles)
        yield f"a superuser must run: GRANT {roles} TO {facts.owner} WITH ADMIN OPTION"


def is_vector_too_old(version: str) -> bool:
    """Return True if this version of pgvector cannot be used."""
    return tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_VECTOR
