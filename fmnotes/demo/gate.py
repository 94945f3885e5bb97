"""Who may ask, and how much.

Only a page that came from here may. A foreign page in the same browser can send requests to this computer, and by a
name of its own that it lets point here (DNS rebinding) even read the answers; so the headers Host and Origin must name
this server, and what is posted must be JSON or a picture, which no form can send.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tornado import web

from fmnotes.demo.desk import Desk
from fmnotes.museum.catalogue import Museum

HOST = "127.0.0.1"
MOST_JSON = 200_000  # bytes; a 64 × 64 picture takes 17,000
MOST_DRAINED = 64_000_000  # bytes of a body that is too large are read and dropped, so that the refusal arrives
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """What was sent cannot be taken: a status, and a message for a person.

    Args:
        field: the field of the page that it is about, "question" or "picture", or "".
    """

    def __init__(self, status: int, message: str, field: str = ""):
        super().__init__(message)
        self.status, self.message, self.field = status, message, field


class Handler(web.RequestHandler):
    """What all have in common: who may ask, and how it is said that something is wrong."""

    desk: Desk = property(lambda self: self.settings["desk"])
    museums: Sequence[Museum] = property(lambda self: self.settings["museums"])

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        hosts, origin = self.settings["hosts"], self.request.headers.get("Origin")
        if self.request.host not in hosts:
            self.refuse(403, f"This page answers only as {' or '.join(sorted(hosts))}.")
        elif origin is not None and origin not in {f"http://{host}" for host in hosts}:
            self.refuse(403, "Only the demo's own page may ask here.")

    def refuse(self, status: int, message: str, field: str = "") -> None:
        self.set_status(status)
        self.finish({"message": message, "field": field})

    def write_error(self, status_code: int, **kwargs) -> None:
        self.refuse(status_code, f"The server says {status_code}, {self._reason}.")


@web.stream_request_body
class Posted(Handler):
    """One to which something is posted: `take` is what it does. More than `most` bytes are not kept, whatever comes."""

    most, kinds = MOST_JSON, ("application/json",)

    async def take(self) -> None:
        raise NotImplementedError

    def too_large(self, size: int) -> str:
        return f"{size:,} bytes are too many, {self.most:,} are the most."

    def prepare(self) -> None:
        self.body, self.size = bytearray(), 0
        length = self.request.headers.get("Content-Length", "")  # none if it is sent in parts
        self.keep = not length.isdecimal() or int(length) <= self.most
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Read on when it is too much: a browser that still sends would not hear the refusal."""
        self.size += len(chunk)
        self.keep = self.keep and self.size <= self.most
        if self.keep:
            self.body += chunk
        else:
            self.body.clear()

    async def post(self) -> None:
        try:
            if not self.request.headers.get("Content-Type", "").startswith(self.kinds):
                raise Refused(415, f"{' or '.join(self.kinds)} is expected here.")
            if self.size > self.most:
                raise Refused(413, self.too_large(self.size))
            await self.take()
        except Refused as refused:
            self.refuse(refused.status, refused.message, refused.field)

    def json(self) -> dict:
        """What was posted."""
        try:
            sent = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "This is not JSON.") from error
        if not isinstance(sent, dict):
            raise Refused(400, "A JSON object is expected here.")
        return sent
