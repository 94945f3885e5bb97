import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnotes import records, runs
from fmnotes.records import Run

README = "# title\n\n<!-- records:quick:bpe. -->\n<!-- /records -->\n\nafter\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("FMNOTES_RUNS", raising=False)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return tmp_path


def measure(root, value=3.9412345, name="bpe.bytes_per_token", notebook="01_bpe", profile="quick", **extra):
    run = Run(notebook, profile=profile, root=root)
    run(name, value, **{"unit": "bytes/token", "tolerance": 0.05, "chance": 1.0} | extra)
    return run


def test_a_run_writes_its_records_with_their_provenance(root):
    run = Run("01_bpe", profile="quick", seed=7, root=root)
    run.data, run.settings = "sha256:cd", {"texts": 12000}
    run("bpe.merges", 1000, unit="merges", tolerance=0, better="equal")
    path = root / "runs" / "quick" / "records" / "01_bpe.json"
    assert list(json.loads(path.read_text())) == ["bpe.merges"], "written at once, not at the end"
    assert json.loads(path.read_text())["bpe.merges"]["data"] == "sha256:cd", "the run's own, where a call names none"
    assert json.loads(path.read_text())["bpe.merges"]["settings"] == {"texts": 12000}
    run("bpe.bytes_per_token", 3.9412345, unit="bytes/token", limit=5, tolerance=0.05, chance=1.0, data="sha256:ab")
    entry = json.loads(path.read_text())["bpe.bytes_per_token"]
    assert entry["value"] == 3.941 and entry["limit"] == 5 and entry["tolerance"] == 0.05
    assert (entry["notebook"], entry["seed"], entry["data"], entry["device"]) == ("01_bpe", 7, "sha256:ab", "cpu")
    assert entry["versions"]["numpy"] == np.__version__ and "python" in entry["versions"]
    assert not [p for p in path.parent.iterdir() if p != path], "no half-written file is left"


def test_a_new_run_forgets_the_one_before(root):
    measure(root)
    Run("01_bpe", root=root)
    assert records.verdicts("quick", "01_bpe", root) == []


def test_the_runs_folder_can_be_moved(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FMNOTES_RUNS", str(tmp_path / "elsewhere"))
    measure(root)
    assert (tmp_path / "elsewhere" / "quick" / "records" / "01_bpe.json").exists()
    assert not (root / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"value": math.nan}, ValueError, "value is nan, not a finite number"),
        ({"value": math.inf}, ValueError, "value is inf"),
        ({"limit": math.inf}, ValueError, "limit is inf"),
        ({"value": np.float32(1.5)}, TypeError, r"value must be a plain int or float, not float32; try \.item\(\)"),
        ({"value": True}, TypeError, "not bool"),
        ({"value": None}, TypeError, "not NoneType"),
        ({"chance": "1"}, TypeError, "chance must be a plain int or float, not str"),
        ({"tolerance": -0.1}, ValueError, "tolerance -0.1 is negative"),
        ({"better": "more"}, ValueError, "better is 'more', but must be one of higher, lower, equal"),
        ({"name": "Bytes per token"}, ValueError, "lower-case words joined by dots"),
        ({"name": "bytes"}, ValueError, "lower-case words joined by dots"),
        ({"profile": "fast"}, ValueError, "profile 'fast' is unknown; there are smoke, quick"),
    ],
)
def test_bad_numbers_are_refused(root, arguments, error, match):
    with pytest.raises(error, match=match):
        measure(root, **arguments)


def test_a_name_is_recorded_once_unless_its_cell_runs_again(root, monkeypatch):
    run = measure(root)
    again = {"unit": "bytes/token", "tolerance": 0.05}
    with pytest.raises(ValueError, match="bpe.bytes_per_token is already recorded"):
        run("bpe.bytes_per_token", 4.0, **again)
    monkeypatch.setattr(records, "_cell", lambda: ("cell-a", 1))
    run("bpe.other", 4.0, **again)
    with pytest.raises(ValueError, match="already recorded"):  # twice in one execution: a loop without names
        run("bpe.other", 5.0, **again)
    monkeypatch.setattr(records, "_cell", lambda: ("cell-b", 2))
    with pytest.raises(ValueError, match="already recorded"):
        run("bpe.other", 5.0, **again)
    monkeypatch.setattr(records, "_cell", lambda: ("cell-a", 3))
    run("bpe.other", 5.0, **again)
    monkeypatch.setattr(records, "_cell", lambda: (None, 4))  # run headless: no cell runs twice
    run("bpe.headless", 4.0, **again)
    monkeypatch.setattr(records, "_cell", lambda: (None, 5))
    with pytest.raises(ValueError, match="already recorded"):
        run("bpe.headless", 4.0, **again)


@given(
    value=st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6),
    tolerance=st.floats(1e-9, 1e3),
)
def test_rounding_costs_less_than_a_tenth_of_the_tolerance(value, tolerance):
    assert abs(records._rounded(value, tolerance) - value) <= tolerance / 10
    assert records._rounded(value, 0) == value
    assert records._rounded(12_345_678, tolerance) == 12_345_678


def test_verdicts(root):
    measure(root)
    assert records.verdicts("quick", "01_bpe", root) == [("bpe.bytes_per_token", "new")]
    records.commit("quick", root)

    def verdict(**extra):
        measure(root, **extra)
        return dict(records.verdicts("quick", "01_bpe", root))["bpe.bytes_per_token"]

    assert verdict() == "inside"
    assert verdict(value=3.991) == verdict(value=3.891) == "inside"
    assert verdict(value=3.992) == verdict(value=3.890) == "outside", "better is outside too: the record is stale"
    assert verdict(value=0.0) == verdict(value=1.0) == "outside"
    assert verdict(value=5.0, tolerance=10.0) == "outside", "a run cannot loosen the committed tolerance"
    assert verdict(unit="bits/token") == verdict(limit=8.0) == "outside"
    measure(root, name="bpe.other")
    assert records.verdicts("quick", "01_bpe", root) == [("bpe.other", "new"), ("bpe.bytes_per_token", "outside")]


def test_commit_replaces_a_notebooks_records_and_keeps_the_others(root):
    run = measure(root)
    run("bpe.old", 5.0, unit="x", tolerance=0.1)
    measure(root, notebook="02_gpt2", name="gpt2.loss", value=2.0, better="lower", chance=8.0)
    assert set(records.commit("quick", root)) == {"bpe.bytes_per_token", "bpe.old", "gpt2.loss"}
    (root / "runs/quick/records/02_gpt2.json").unlink()
    measure(root, value=4.2)
    assert set(records.commit("quick", root)) == {"bpe.bytes_per_token", "bpe.old"}
    committed = records.load("quick", root)
    assert list(committed) == ["bpe.bytes_per_token", "gpt2.loss"] and committed["bpe.bytes_per_token"]["value"] == 4.2


def test_commit_refuses_what_proves_nothing(root):
    with pytest.raises(FileNotFoundError, match="make run PROFILE=quick"):
        records.commit("quick", root)
    with pytest.raises(ValueError, match="smoke"):
        records.commit("smoke", root)
    measure(root, tolerance=3.95)
    with pytest.raises(ValueError, match="bpe.bytes_per_token: tolerance 3.95 is too wide, zero would pass"):
        records.commit("quick", root)
    measure(root)
    measure(root, notebook="02_gpt2")
    with pytest.raises(ValueError, match="recorded by 01_bpe and by 02_gpt2"):
        records.commit("quick", root)
    assert records.load("quick", root) == {}


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({}, None),
        ({"value": 0.0}, "zero would pass"),
        ({"tolerance": 2.95, "chance": 1.0}, r"chance \(1.0\) would pass"),
        ({"better": "higher", "limit": 3.8}, "better than its limit 3.8"),
        ({"better": "lower", "limit": 4.1}, "better than its limit 4.1"),
        ({"better": "lower", "limit": 3.97}, None),
        ({"better": "higher", "limit": 4.1}, None),
        ({"better": "equal", "limit": 4.1}, None),
    ],
)
def test_faults(root, extra, fault):
    measure(root, **extra)
    found = records.faults(runs.read(root / "runs/quick/records/01_bpe.json"))
    assert len(found) == (fault is not None)
    assert fault is None or re.search(fault, found[0])


def test_the_report_never_shows_the_fresh_value(root, capsys):
    measure(root).report()
    assert capsys.readouterr().out == (
        "record               committed  unit         tolerance  limit\n"
        "bpe.bytes_per_token          –  bytes/token     ± 0.05      –  new\n"
    )
    records.commit("quick", root)
    measure(root, value=3.951).report()
    inside = capsys.readouterr().out
    assert inside.splitlines()[1].split() == ["bpe.bytes_per_token", "3.941", "bytes/token", "±", "0.05", "–", "inside"]
    measure(root, value=3.947).report()
    assert capsys.readouterr().out == inside
    measure(root, value=2.5).report()
    outside = capsys.readouterr().out
    assert outside == inside.replace("inside", "outside") and "2.5" not in outside
    measure(root, value=2.5, profile="smoke").report()
    assert "not compared" in capsys.readouterr().out


def test_readme_is_rendered_from_the_records(root):
    readme = root / "README.md"
    assert records.check(root) == ["README.md: nothing is recorded for quick:bpe."]
    measure(root)
    measure(root, notebook="02_gpt2", name="gpt2.bpe", value=2.0)
    records.commit("quick", root)
    assert "is not what is recorded" in records.check(root)[0]
    assert records.render(root) == ["README.md"] and records.render(root) == []
    text = readme.read_text(encoding="utf-8")
    assert "| bpe.bytes_per_token | 3.941 | bytes/token | – | ± 0.05 | higher |\n\n*01_bpe: seed 0*\n<!--" in text
    assert "gpt2" not in text and records.check(root) == []
    readme.write_text(text.replace("3.941", "3.942"), encoding="utf-8")
    assert "quick:bpe. is not what is recorded" in records.check(root)[0]
    readme.write_text(text.replace("<!-- /records -->", ""), encoding="utf-8")
    assert "1 opening and 0 closing marks make 0 blocks" in records.check(root)[0]


def test_a_figure_of_the_readme_is_the_notebooks(root):
    import base64

    (root / "README.md").write_text("", encoding="utf-8")
    (root / "notebooks").mkdir()
    (root / "data" / "records").mkdir(parents=True, exist_ok=True)
    (file, (notebook, alt)), *_ = records.PICTURES.items()
    figure = base64.b64encode(b"pixels").decode()
    output = {"data": {"image/png": figure}, "metadata": {"image/png": {"alt": alt + " …"}}}
    content = {"cells": [{"cell_type": "markdown"}, {"outputs": [output]}]}
    (root / "notebooks" / f"{notebook}.ipynb").write_text(json.dumps(content), encoding="utf-8")
    assert "is not the notebook's figure" in records.check(root)[0]
    assert records.render(root) == [file] and (root / file).read_bytes() == b"pixels"
    assert records.check(root) == []


COMMITTED = [(profile, name, entry) for profile in records.PROFILES for name, entry in records.load(profile).items()]


def test_readme_and_committed_records_agree():
    assert COMMITTED and records.check() == []


def test_a_card_is_rendered_as_well(root):
    measure(root)
    records.commit("quick", root)
    card = root / records.RENDERED[1]
    card.parent.mkdir(parents=True)
    card.write_text(README, encoding="utf-8")
    assert records.render(root) == list(records.RENDERED[:2]) and records.check(root) == []
    card.write_text(README, encoding="utf-8")
    assert records.check(root) == [
        f"{records.RENDERED[1]}: quick:bpe. is not what is recorded: `python -m fmnotes records render`"
    ]


@pytest.mark.parametrize(("profile", "name", "entry"), COMMITTED, ids=lambda value: value if type(value) is str else "")
def test_zero_and_chance_fail_every_committed_record(profile, name, entry):
    assert records.faults({name: entry}) == []
    assert records._verdict(entry, entry) == "inside"
    for worthless in (0, entry["chance"]):
        if worthless is not None:
            assert records._verdict(entry, entry | {"value": worthless}) == "outside"
