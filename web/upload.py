"""The file in a form that a browser without script sends (``multipart/form-data``)."""

from __future__ import annotations

from email import policy
from email.parser import BytesParser

MULTIPART_TYPE = "multipart/form-data"


def file_of(content_type: str, body: bytes) -> bytes:
    """The bytes of the first file of the form; empty when none was chosen or the form is damaged.

    ``content_type`` is the header of the request, with its boundary.
    """
    head = content_type.encode("ascii", "replace").replace(b"\r", b"").replace(b"\n", b"")
    form = BytesParser(policy=policy.HTTP).parsebytes(b"Content-Type: " + head + b"\r\n\r\n" + body)
    if not form.is_multipart():
        return b""
    for part in form.iter_parts():
        if part.get_filename() is not None:
            content = part.get_payload(decode=True)
            return content if isinstance(content, bytes) else b""
    return b""
