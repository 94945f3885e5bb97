"""Studies: they can be run, they go on where they were stopped, and what they left in `data/studies` holds together."""

import json

from fmnotes import ROOT
from fmnotes.studies import gpt2_nano
from fmnotes.training import read_metrics


def test_the_study_of_the_nano_model_runs_and_goes_on(tmp_path, monkeypatch):
    sizes = {"STEPS": 6, "WARMUP": 1, "EVERY": 2, "HELD_OUT": 2, "SEEDS": (0, 1), "STUDY": tmp_path / "study"}
    for name, value in sizes.items():
        monkeypatch.setattr(gpt2_nano, name, value)
    written = []
    for runs in ("first", "first", "again"):  # the second call finds the first one's checkpoints, the third finds none
        monkeypatch.setattr(gpt2_nano, "RUNS", tmp_path / runs)
        gpt2_nano.main()
        written.append(json.loads((tmp_path / "study" / "curves.json").read_text()))
    assert written[0] == written[1] == written[2]
    assert written[0]["tokens"] == [1024, 2048, 3072] and set(written[0]["gpt2"]) == {"0", "1"}
    bits = [line["bits"] for line in read_metrics(tmp_path / "first" / "seed-1" / "metrics.jsonl") if "bits" in line]
    assert [round(value, 4) for value in bits] == written[0]["gpt2"]["1"] != written[0]["gpt2"]["0"]
    assert bits[-1] < bits[0]


def test_the_committed_curves_are_those_of_the_committed_recipe():
    curves = json.loads((ROOT / "data" / "studies" / "gpt2_nano" / "curves.json").read_text())
    tokens_a_step = gpt2_nano.BATCH_SIZE * gpt2_nano.GPT2Config.nano().context_length
    steps = range(gpt2_nano.EVERY, gpt2_nano.STEPS + 1, gpt2_nano.EVERY)
    assert curves["tokens"] == [step * tokens_a_step for step in steps]
    assert set(curves["gpt2"]) == {str(seed) for seed in gpt2_nano.SEEDS}
    for bits in (curves["ngram"], *curves["gpt2"].values()):
        assert len(bits) == len(curves["tokens"]) and min(bits) > curves["floor"]
