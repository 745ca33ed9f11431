"""The store opens, makes and upgrades its tables, and says in Chinese what fails, on both databases."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from api.settings import Settings
from api.store import tables
from api.store.database import HEAD, MIGRATIONS, Database


def test_the_migrations_make_the_tables_of_the_models(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert tables.ListVersion.__tablename__ in SQLModel.metadata.tables
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_newest_revision_is_the_one_that_is_looked_for(database: Database) -> None:
    assert ScriptDirectory(MIGRATIONS).get_heads() == [HEAD]
    assert database.revision() == HEAD


def test_opening_again_changes_nothing(database: Database, store_settings: Settings) -> None:
    again = Database.open(store_settings)
    assert again.revision() == HEAD
    again.dispose()
