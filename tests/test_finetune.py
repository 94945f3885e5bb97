import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from fmnotes import data, finetune

PAIRS = [("Name a colour.", "red"), ("Name a shape.", "star"), ("What is one and one?", "two")]
SMALL = ["--rank", "4", "--batch", "2", "--length", "48"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny LLaMA of random weights with the museum's tokenizer, as the hub would have it."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(data.checkpoint("tokenizer-museum")).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"instruction": asked, "output": said}) for asked, said in PAIRS))
    return str(file)


def test_it_forecasts_trains_and_saves_what_peft_opens(model, rows, tmp_path, capsys):
    steps = ["--steps", "25", "--learning-rate", "0.02"]
    found = finetune.main(["--model", model, "--data", rows, "--output", str(tmp_path / "out"), *SMALL, *steps])
    said = capsys.readouterr().out
    assert said.index("forecast") < said.index("loss") and "activations" in said
    assert found["losses"][-1] < 0.6 * found["losses"][0]

    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 7 * 2 and all("lora_" in name for name in tensors)
    assert sum(t.nbytes for t in tensors.values()) == found["forecast"]["updates"]

    plain = AutoModelForCausalLM.from_pretrained(model)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), tmp_path / "out")
    batch = finetune.Instructions(finetune.read(rows), AutoTokenizer.from_pretrained(model), 4, 48, 1)[0]
    with torch.no_grad():
        assert tuned(**batch).loss < 0.7 * plain(**batch).loss


def test_a_model_of_another_shape_trains_without_a_forecast(rows, tmp_path, capsys):
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=4096, n_positions=64, n_embd=32, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    AutoTokenizer.from_pretrained(data.checkpoint("tokenizer-museum")).save_pretrained(tmp_path)
    asked = ["--model", str(tmp_path), "--data", rows, "--output", str(tmp_path / "out"), *SMALL, "--steps", "2"]
    found = finetune.main(asked)
    assert found["forecast"] == {} and (tmp_path / "out" / "adapter_model.safetensors").exists()
    assert (
        "no forecast (a forecast knows the shapes of llama, mistral and qwen2, not 'gpt2')" in capsys.readouterr().out
    )
    with pytest.raises(ValueError, match="not 'gpt2'"):
        finetune.main([*asked, "--forecast"])


def test_the_same_seed_trains_the_same(model, rows, tmp_path):
    runs = [
        finetune.main(["--model", model, "--data", rows, "--output", str(tmp_path / name), *SMALL, "--steps", "3"])
        for name in ("a", "b")
    ]
    assert runs[0]["losses"] == runs[1]["losses"]


def test_a_forecast_needs_no_weights_and_no_data(tmp_path, capsys):
    LlamaConfig(vocab_size=32000, num_key_value_heads=32).save_pretrained(tmp_path)  # the shape of LLaMA-2-7B
    found = finetune.main(["--model", str(tmp_path), "--forecast", "--checkpointing", "--length", "2048"])
    assert 3.2e9 < found["forecast"]["weights"] < 4.5e9
    assert "GB" in capsys.readouterr().out


def test_only_the_answer_and_the_end_are_learned(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    batch = finetune.Instructions([{"prompt": "Name a colour.", "completion": "red"}], tokenizer, 2, 64, 0)[0]
    learned = [i for i in batch["labels"][0].tolist() if i != finetune.IGNORE]
    assert tokenizer.decode(learned[:-1]) == "red" and learned[-1] == tokenizer.eos_token_id
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape


def test_padding_is_neither_read_nor_learned(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [{"prompt": a, "completion": b} for a, b in PAIRS]
    batch = finetune.Instructions(rows, tokenizer, 16, 64, 0)[0]
    padded = batch["attention_mask"] == 0
    assert padded.any() and (batch["labels"][padded] == finetune.IGNORE).all()


def test_a_row_is_cut_at_the_length_and_left_out_without_its_answer(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    long = [{"role": "user", "content": "why " * 90}, {"role": "assistant", "content": "so"}]
    assert finetune.encode(long, tokenizer, 32) is None
    ids, start = finetune.encode(long[:0] + [{"role": "assistant", "content": "so " * 90}], tokenizer, 32)
    assert len(ids) == 32 and start < 32
    with pytest.raises(ValueError, match="no answer begins within the first 32 tokens"):
        finetune.Instructions([{"messages": long}], tokenizer, 2, 32, 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?"}, "has the fields question, but must have one of"),
        ({"messages": []}, "must end with what the assistant says"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "must end with what the assistant says"),
        ({"prompt": "?", "completion": " "}, "must end with what the assistant says"),
    ],
)
def test_rows_that_teach_nothing_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        finetune.turns(row)


def test_instructions_are_read_from_a_saved_data_set(tmp_path):
    import datasets

    datasets.Dataset.from_list([{"prompt": "a", "completion": "b"}]).save_to_disk(tmp_path / "set")
    assert finetune.read(str(tmp_path / "set")) == [{"prompt": "a", "completion": "b"}]


def test_files_without_rows_or_sense_are_refused(tmp_path, model):
    empty, broken = tmp_path / "empty.jsonl", tmp_path / "broken.jsonl"
    empty.write_text("\n")
    broken.write_text('{"prompt": "a", "completion": "b"}\n{nonsense')
    with pytest.raises(ValueError, match="has no rows"):
        finetune.read(str(empty))
    with pytest.raises(ValueError, match="line 2 of .* is no JSON object"):
        finetune.read(str(broken))
    with pytest.raises(ValueError, match="give --data and --output"):
        finetune.main(["--model", model])
    with pytest.raises(FileNotFoundError):
        finetune.read(str(tmp_path / "missing.jsonl"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_paging_without_a_gpu_is_refused(model, rows, tmp_path):
    with pytest.raises(ValueError, match="needs a GPU"):
        options = ["--model", model, "--data", rows, "--output", str(tmp_path), *SMALL, "--steps", "1", "--paged"]
        finetune.main(options)
