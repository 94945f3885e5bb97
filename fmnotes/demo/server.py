"""Serves the page to this computer alone, and what the page asks for."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from tornado import httpserver, iostream, netutil, web

from fmnotes.demo import answers, offers, pictures
from fmnotes.demo.desk import Desk
from fmnotes.demo.gate import HOST, MOST_DRAINED, Handler, Posted, Refused
from fmnotes.museum import Scene
from fmnotes.museum.catalogue import Museum

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from fmnotes.system import Picture, System

MOST_QUESTION = 200  # characters
MOST_WAITING = 8  # questions
SCRIPTS = ("tools.js", "picture.js", "answer.js", "page.js")
FILES = {"": ("page.html", "text/html"), "page.css": ("page.css", "text/css")}
FILES |= {name: (name, "text/javascript") for name in SCRIPTS}
log = logging.getLogger("fmnotes.demo")


def _file(name: str) -> Traversable:
    return resources.files("fmnotes.demo") / "page" / name


class Page(Handler):
    """The page itself and its files."""

    def get(self, name: str) -> None:
        if name not in FILES:
            raise web.HTTPError(404)
        file, kind = FILES[name]
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.finish(_file(file).read_bytes())


class Nothing(Handler):
    """Any other address."""

    def get(self) -> None:
        self.refuse(404, "There is nothing here. The page is at /.")

    post = get


class State(Handler):
    """Whether it can be asked, and what there is to choose from."""

    def get(self) -> None:
        error = self.desk.loading.exception() if self.desk.state == "broken" else None
        self.finish(
            {
                "state": self.desk.state,
                "message": f"The models could not be loaded: {error}" if error else "",
                "museums": [museum.name for museum in self.museums],
                "choices": offers.choices(),
                "limits": {"bytes": pictures.MOST_BYTES},
            }
        )


class Scenes(Handler):
    """Scenes to choose from."""

    def get(self, seed: str) -> None:
        self.finish({"scenes": offers.some_scenes(int(seed))})


class Drawn(Posted):
    """The picture of a drawn scene."""

    async def take(self) -> None:
        self.finish(offers.shown(_scene(self.json())))


class Suggestions(Posted):
    """Questions that fit a picture and a museum."""

    async def take(self) -> None:
        sent = self.json()
        scene = _scene(sent["scene"]) if sent.get("scene") else None
        seed = sent.get("seed")
        seed = seed if type(seed) is int and 0 <= seed < 2**48 else 0
        name = _museum(sent, self.museums)
        self.finish({"questions": offers.suggestions(self.museums, name, scene, bool(sent.get("picture")), seed)})


class Upload(Posted):
    """A picture from outside, given back as the model sees it."""

    most, kinds = pictures.MOST_BYTES, ("image/", "application/octet-stream")

    def too_large(self, size: int) -> str:
        return pictures.too_large(size)

    async def take(self) -> None:
        try:
            # in another thread than the models': unpacking may take a second, and meanwhile others are served
            picture = await asyncio.to_thread(pictures.read, bytes(self.body))
        except pictures.PictureError as error:
            raise Refused(400, str(error), "picture") from error
        self.finish({"picture": pictures.packed(picture), "words": "the picture that you uploaded"})


class Ask(Posted):
    """A question. The answer is lines of JSON: that it waits, then what became of it."""

    asked: asyncio.Future | None = None

    async def take(self) -> None:
        sent = self.json()
        question, name, expected = _question(sent), _museum(sent, self.museums), _text(sent, "expected")
        try:
            picture = pictures.unpacked(sent["picture"]) if isinstance(sent.get("picture"), str) else None
        except pictures.PictureError as error:
            raise Refused(400, str(error), "picture") from error
        ahead, state = self.desk.waiting, self.desk.state
        if ahead >= MOST_WAITING:
            raise Refused(503, f"{ahead} questions are waiting already: try again in a moment.")
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        self.asked = self.desk.submit(lambda system: _answer(system, question, picture, name, expected))
        try:
            await self.say(event="waiting", ahead=ahead, state=state)
            await self.say(**await self._outcome(question))
            await self.finish()
        except (asyncio.CancelledError, iostream.StreamClosedError):
            pass  # the one who asked has gone

    async def _outcome(self, question: str) -> dict:
        try:
            return await self.asked
        except Exception as error:
            log.exception("This question could not be answered: %r", question)
            return {"event": "error", "stage": "", "message": f"this could not be answered: {error}", "stages": []}

    async def say(self, **line) -> None:
        self.write(json.dumps(line) + "\n")
        await self.flush()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self.asked:
            self.asked.cancel()  # a question that waits is forgotten; one that is being answered runs to its end


def _answer(system: System, question: str, picture: Picture | None, museum: str, expected: str) -> dict:
    from fmnotes.rag.reader import harmless  # torch and all: in the desk's thread, after the page has opened
    from fmnotes.system import StageError

    try:
        trace = system.ask(harmless(question), picture, museum)
    except StageError as error:
        return {
            "event": "error",
            "stage": answers.NAMES.get(error.stage, error.stage),
            "message": str(error).removeprefix(f"{error.stage}: "),
            "stages": answers.stages(error.trace, system.store, error.stage),
            "attention": answers.looked(error.trace),
        }
    return {"event": "answer", **answers.told(trace, system.store, expected)}


def _text(sent: dict, name: str) -> str:
    value = sent.get(name, "")
    if not isinstance(value, str):
        raise Refused(400, f"The {name} must be a text.", name)
    return value


def _question(sent: dict) -> str:
    question = " ".join(_text(sent, "question").split())
    if not question:
        raise Refused(400, "The question is empty: write one, or take one of the suggestions.", "question")
    if len(question) > MOST_QUESTION:
        message = f"The question has {len(question)} characters, {MOST_QUESTION} are the most: shorten it."
        raise Refused(400, message, "question")
    return question


def _museum(sent: dict, museums: Sequence[Museum]) -> str:
    name = _text(sent, "museum")
    if name and name not in {museum.name for museum in museums}:
        raise Refused(400, f"There is no museum {name[:60]!r} here.", "museum")
    return name


def _scene(row) -> Scene:
    try:
        return offers.drawn(row)
    except ValueError as error:
        raise Refused(400, f"This cannot be drawn: {error}.", "picture") from error


def listen(desk: Desk, museums: Sequence[Museum], port: int = 0) -> tuple[httpserver.HTTPServer, int]:
    """Serve on this computer's own address, on any free port if `port` is 0. Call it where an event loop runs.

    Raises:
        OSError: if the port is taken.
    """
    (socket,) = netutil.bind_sockets(port, HOST)
    port = socket.getsockname()[1]
    routes = [
        (r"/(page\.css|[a-z]+\.js|)", Page),
        (r"/state", State),
        (r"/scenes/(\d{1,15})", Scenes),
        (r"/drawn", Drawn),
        (r"/suggestions", Suggestions),
        (r"/picture", Upload),
        (r"/ask", Ask),
    ]
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    settings = {"desk": desk, "museums": museums, "hosts": hosts, "log_function": lambda handler: None}
    app = web.Application(routes, default_handler_class=Nothing, **settings)
    server = httpserver.HTTPServer(app, max_body_size=MOST_DRAINED, max_header_size=16_000, body_timeout=60)
    server.add_socket(socket)
    return server, port
