"""Reads an HTML page the way a browser without script would: its controls, links and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Shown:
    """What a page shows. ``values`` are the successful controls of the form ``list`` by name."""

    values: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.shown = Shown()
        self._inert = 0
        self._select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "template":
            self._inert += 1
        if self._inert:
            return
        found = {name: value or "" for name, value in attributes}
        self.shown.tags.append((tag, found))
        if "id" in found:
            self.shown.attributes[found["id"]] = found
        if tag == "input" and "name" in found:
            self.shown.values[found["name"]] = found.get("value", "")
        elif tag == "select":
            self._select = found.get("name", "")
            self.shown.values[self._select] = ""
        elif tag == "option" and "selected" in found and self._select:
            self.shown.values[self._select] = found.get("value", "4101")

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._inert -= 1
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if not self._inert:
            self.shown.text += data


def read(html: str) -> Shown:
    reader = _Reader()
    reader.feed(html)
    return reader.shown
