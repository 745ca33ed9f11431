"""The demo month: made-up settlement lists that look like a hospital's, some with planted defects."""
