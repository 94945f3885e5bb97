"""Tests see no network: shown in a Python process, in a notebook's kernel, and for what must keep working."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from fmnotes import ROOT

OFFLINE = str(ROOT / "ci" / "offline")
# An address that is never anybody's (RFC 5737) and a name that never resolves (RFC 6761): safe if nothing refuses.
REFUSED = {
    "socket.create_connection(('192.0.2.1', 80), timeout=5)": "192.0.2.1",
    "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))": "192.0.2.1",
    "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))": "2001:db8::1",
    "socket.getaddrinfo('data.invalid', 443)": "data.invalid",
    "socket.gethostbyname('data.invalid')": "data.invalid",
    "__import__('urllib.request').request.urlopen('http://data.invalid/x')": "data.invalid",
    "__import__('requests').get('https://data.invalid/x')": "data.invalid",
}


@pytest.fixture(scope="module")
def answers():
    """What a new, blocked Python says to each attempt."""
    code = "import socket\nfor attempt in %r:\n    try: print(eval(attempt))\n    except OSError as error: print(error)"
    environment = {**os.environ, "PYTHONPATH": OFFLINE}
    command = [sys.executable, "-c", code % list(REFUSED)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(zip(REFUSED, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_python_process_cannot_reach_out(answers, attempt):
    assert f"the network is blocked in tests, but something asked for '{REFUSED[attempt]}'" in answers[attempt]


def test_a_kernel_cannot_reach_out_either(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", OFFLINE)
    cell = new_code_cell(
        "import socket\ntry: socket.getaddrinfo('data.invalid', 443)\nexcept OSError as error: print(error)"
    )
    nb = new_notebook(cells=[cell])
    NotebookClient(nb, kernel_name="python3").execute()  # which itself talks to the kernel over the loopback
    assert "the network is blocked in tests" in nb.cells[0].outputs[0].text


def test_this_machine_can_be_reached(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
        greeter.start()
        code = f"import socket; print(socket.create_connection(('localhost', {server.getsockname()[1]})).recv(5))"
        monkeypatch.setenv("PYTHONPATH", OFFLINE)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        greeter.join()
    assert done.stdout == "b'hello'\n"


@pytest.mark.skipif("HF_HUB_OFFLINE" not in os.environ, reason="pytest was not started by make test")
def test_make_test_blocks_pytest_itself():
    with pytest.raises(OSError, match="the network is blocked in tests"):
        socket.getaddrinfo("data.invalid", 443)


def test_the_tests_of_the_makefile_are_blocked():
    dry = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in dry.replace("\\\n", " ").splitlines() if "-m pytest" in line or "-m fmnotes" in line]
    assert len(lines) == 2 and all(f"PYTHONPATH={OFFLINE} HF_HUB_OFFLINE=1" in line for line in lines)
