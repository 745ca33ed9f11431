"""Suggestion of codes for what the doctor wrote."""
