"""What surrounds the notebooks agrees with itself: one lock for every way to install, and no place on a machine."""

import re
import subprocess
import sys
import tomllib

import pytest
from contract import ABSOLUTE
from papermill.iorw import read_yaml_file

from fmnotes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCKED = set(re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE))


def test_every_dependency_is_locked_with_hashes():
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert {re.match(r"[\w-]+", line)[0].lower() for line in wanted} <= LOCKED
    for entry in re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry


def test_the_lock_was_made_as_make_lock_makes_it():
    oldest = re.search(r">=(3\.\d+)", PROJECT["requires-python"])[1]
    made = re.search(r"uv (pip compile .*)", LOCK)[1]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n\t\t", "")
    assert made in makefile.replace("--quiet --upgrade ", "") and f"--python-version {oldest}" in made


def test_conda_takes_the_locks_versions():
    environment = read_yaml_file(str(ROOT / "environment.yml"))
    python, pip, from_pip = environment["dependencies"]
    assert f">={python.removeprefix('python=')}" == PROJECT["requires-python"]
    assert (pip, from_pip) == ("pip", {"pip": ["-r requirements.lock"]})


def test_the_image_takes_the_locks_versions():
    bases = re.findall(r"^FROM (\S+)(?: AS (\w+))?", DOCKERFILE, re.MULTILINE)
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert bases == [(f"python:{oldest}-slim", "cpu"), (f"python:{oldest}-slim", "cuda"), ("${DEVICE}", "")]
    installs = [line for line in DOCKERFILE.splitlines() if "uv pip " in line]
    assert [line.split()[-1] for line in installs] == ["requirements.lock", "."]
    assert "pip sync" in installs[0] and "--no-deps" in installs[1]


def test_the_image_is_for_cpus_unless_asked_and_runs_as_nobody_special():
    assert re.findall(r"^ARG (.*)", DOCKERFILE, re.MULTILINE) == ["DEVICE=cpu"]
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.MULTILINE) == ["student"]
    assert DOCKERFILE.index("USER student") < DOCKERFILE.index('CMD ["jupyter", "lab"')
    assert "token" not in DOCKERFILE.split("CMD", 1)[1]  # JupyterLab makes one by itself, unless it is told not to


def tracked():
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


# Places that are the same on every machine, or in the image; Ada's are made up, in tests.
EVERYWHERE = ("/usr/bin/env", "/var/lib/apt/", "/opt/uv", "/home/student/fmnotes", "/home/ada/x", "/Users/ada/x")
# Built from parts, so that this file does not find itself.
REGISTRIES = re.compile(r"--(?:extra-)?index" + r"-url|(?:INDEX|FIND)_" + r"(?:URL|LINKS)|file://" + "/")


def test_no_file_names_a_place_on_a_machine_or_a_registry():
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        places = [text[match.start() :][:40] for match in ABSOLUTE.finditer(text)]
        found += [f"{path.relative_to(ROOT)}: {place!r}" for place in places if not place.startswith(EVERYWHERE)]
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in REGISTRIES.finditer(text)]
    assert not found


def test_the_code_and_the_notebooks_keep_the_style():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
