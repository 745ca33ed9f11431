"""The version of the program: of the installed package, or of the source folder it runs from."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from models.pack import PROJECT_ROOT

PACKAGE = "qingdan"


@cache
def program_version() -> str:
    """Such as ``0.1.0``."""
    source = PROJECT_ROOT / "pyproject.toml"
    try:
        # The folder in front of us, when there is one: an installed copy may be another version.
        project = tomllib.loads(source.read_text(encoding="utf-8"))["project"]
    except OSError:
        try:
            return installed_version(PACKAGE)
        except PackageNotFoundError:
            return "0"
    return str(project["version"])
