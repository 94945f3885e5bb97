"""The command line: ``python -m fmnotes.demo``."""

import argparse
import asyncio
import os
import sys
import webbrowser

from fmnotes.demo import __doc__ as about
from fmnotes.demo import offers
from fmnotes.demo.desk import Desk
from fmnotes.demo.gate import HOST
from fmnotes.demo.server import listen


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m fmnotes.demo", description=about.partition("\n")[0])
    top.add_argument("--port", type=_number(0, 65535), default=8080, help="where to serve (default: 8080; 0: any free)")
    top.add_argument("--museums", type=_number(1, 40), default=6, help="whose pages are searched (default: 6)")
    top.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    return top


def _number(least: int, most: int):
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


async def serve(port: int, number: int, browser: bool) -> None:
    """Until it is interrupted."""
    museums = offers.museums(number)

    def load():
        from fmnotes import system  # torch and all: the page opens before they are here

        return system.load(museums)

    desk = Desk(load)
    try:
        _, port = listen(desk, museums, port)
        address = f"http://{HOST}:{port}/"
        print(f"The demo is at {address} and only on this computer. Ctrl+C ends it.", flush=True)
        if browser and _has_screen():
            webbrowser.open(address)
        await asyncio.Event().wait()
    finally:
        desk.close()


def _has_screen() -> bool:
    """Whether a browser has where to open; without, some systems would open one in the terminal."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(arguments: list[str] | None = None) -> int:
    """Serve, and return the exit status: 0 when interrupted, 1 if the port is taken."""
    chosen = parser().parse_args(arguments)
    try:
        asyncio.run(serve(chosen.port, chosen.museums, not chosen.no_browser))
    except KeyboardInterrupt:
        print()
    except OSError as error:
        print(f"Port {chosen.port} cannot be used ({error.strerror}): try --port 0, any free one.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # models that are still loading would hold the end up
