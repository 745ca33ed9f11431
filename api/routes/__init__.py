"""The HTTP routes, one module for each thing they answer about."""
