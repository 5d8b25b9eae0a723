from alembic.config import Config
from alembic.script import ScriptDirectory

from pipeline.db.schema import find_newest_revision


def test_migrations_follow_one_another() -> None:
    scripts = ScriptDirectory.from_config(Config("alembic.ini"))
    newest = scripts.get_current_head()  # raises an exception if there are several
    revisions = [script.revision for script in scripts.walk_revisions("base", newest or "")]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]
    assert newest == find_newest_revision()
