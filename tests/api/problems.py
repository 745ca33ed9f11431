"""The one assertion about errors that every test of a route uses."""

from __future__ import annotations

import re

import httpx

from api.problems import KINDS, MEDIA_TYPE, TYPE_PREFIX


def assert_problem(answer: httpx.Response, kind: str, *mentions: str) -> None:
    """``answer`` is an RFC 9457 problem of ``kind``, in Chinese, and its detail holds all ``mentions``."""
    status, title = KINDS[kind]
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert set(body) <= {"type", "title", "status", "detail", "instance", "errors"}
    assert (body["type"], body["title"], body["status"]) == (TYPE_PREFIX + kind, title, status)
    assert re.search(r"[\u4e00-\u9fff]", body["detail"])
    for mention in mentions:
        assert mention in body["detail"]
    for fault in body.get("errors", ()):
        assert set(fault) == {"place", "reason"}
