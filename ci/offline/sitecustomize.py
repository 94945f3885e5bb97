"""No network: with this folder on PYTHONPATH every Python process, kernels included, can reach only its own machine.

Python imports ``sitecustomize`` when it starts. The audit hook sees every connection and every look-up of a name
before it happens (https://docs.python.org/3/library/audit_events.html), and nothing can take it out again.
"""

import ipaddress
import sys


class NetworkBlocked(OSError):
    """A connection or look-up that a test must not make. An OSError, as a machine without a network would raise."""


def _is_own_machine(host) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:  # a name
        return False


def _refuse(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a text is a Unix socket: this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if not _is_own_machine(host):
        raise NetworkBlocked(
            f"the network is blocked in tests, but something asked for {host!r}: use data that is here"
        )


sys.addaudithook(_refuse)
