"""The history of the tables: one module a revision, run in order by Alembic when a store is opened."""
