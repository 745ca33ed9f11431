"""The store: what the hospital's own database keeps, SQLite by default, PostgreSQL by one setting."""
