"""The use cases: what the doors (CLI, HTTP, page) call."""
