"""Teach a language model to follow instructions, in four bits with low-rank updates (QLoRA), on one GPU or on a CPU.

    python -m fmnotes.finetune --model mistralai/Mistral-7B-v0.1 --data rows.jsonl --output adapter

It says first what the run will take, then trains, and writes the updates as `peft` reads them. `--help` lists the rest;
with `--forecast` it stops after the forecast, which needs the model's `config.json` alone.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fmnotes import data
from fmnotes.quantization.memory import Decoder, forecast
from fmnotes.training import TrainingConfig, adamw, train

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels that nobody asks for

IGNORE = -100
FIELDS = (("instruction", "input", "output"), ("prompt", "completion"), ("messages",))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Forecast, train, save; returns the forecast, the losses and where the updates are."""
    options = _options(arguments)
    expected = _forecast(options)
    if options.forecast:
        return {"forecast": expected}
    if not options.data or not options.output:
        raise ValueError("give --data and --output, or --forecast to see what a run would take")
    tokenizer = _tokenizer(options.model)
    rows = Instructions(read(options.data), tokenizer, options.batch, options.length, options.seed)
    torch.manual_seed(options.seed)
    model = load(options.model, options.method, options.rank, options.alpha, options.checkpointing)
    recipe = TrainingConfig(
        options.steps, options.learning_rate, warmup_steps=options.steps // 20, weight_decay=0.0, seed=options.seed
    )
    lines = train(model, _loss, rows, recipe, optimizer=_paged if options.paged else adamw)
    model.save_pretrained(options.output)
    losses = [line["loss"] for line in lines]
    print(f"loss {losses[0]:.3f} → {losses[-1]:.3f} nats a token; the updates are in {options.output}")
    return {"forecast": expected, "losses": losses, "output": options.output}


def _forecast(options: argparse.Namespace) -> dict[str, int]:
    """What a step will hold, printed; empty for a model whose shape is not known, unless the forecast is all."""
    try:
        shape = Decoder.of(_config(options.model))
    except ValueError as error:
        if options.forecast:
            raise
        print(f"memory of a training step: no forecast ({error})", flush=True)
        return {}
    number = 2 if torch.cuda.is_available() else 4
    expected = forecast(
        shape, options.method, options.batch, options.length, options.rank, number, options.checkpointing
    )
    print(table(expected), flush=True)
    _warn_of_memory(sum(expected.values()))
    return expected


def table(expected: dict[str, int]) -> str:
    """A forecast in lines, with its sum."""
    parts = {**expected, "together": sum(expected.values())}
    return "\n".join(["memory of a training step, forecast"] + [f"  {k:12s}{_size(v):>10s}" for k, v in parts.items()])


def read(source: str) -> list[dict]:
    """Rows of a JSON-lines file, a folder that `datasets` saved or can read, or a hub id (its split "train").

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is no JSON object, or there are no rows.
    """
    place = Path(source)
    if place.suffix in (".jsonl", ".json"):
        rows = []
        for number, line in enumerate(place.read_text().splitlines(), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} of {source} is no JSON object: {error.msg}") from error
    elif (place / "state.json").exists():
        from datasets import load_from_disk

        rows = list(load_from_disk(source))
    else:
        rows = list(data.load(source, split="train"))
    if not rows:
        raise ValueError(f"{source} has no rows: there is nothing to learn from")
    return rows


def turns(row: dict) -> list[dict[str, str]]:
    """A row as a conversation: messages with a "role" and a "content", the last by the assistant.

    Raises:
        ValueError: if the row has none of the known fields, or ends with somebody else.
    """
    if "messages" in row:
        messages = row["messages"]
    elif "instruction" in row and "output" in row:
        asked = "\n\n".join(filter(None, [row["instruction"], row.get("input")]))
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]
    elif "prompt" in row and "completion" in row:
        messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    else:
        known = "; ".join(", ".join(fields) for fields in FIELDS)
        raise ValueError(f"a row has the fields {', '.join(row)}, but must have one of: {known}")
    if not messages or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise ValueError("a conversation must end with what the assistant says, for that is what is learned")
    return messages


class Instructions:
    """Batches of conversations, padded on the right; only the last answer and the end token are learned.

    A row longer than `length` is cut at its end; one whose answer would be cut away whole is left out.

    Raises:
        ValueError: if no row is left.
    """

    unit = "tokens"

    def __init__(self, rows: list[dict], tokenizer, batch: int, length: int, seed: int):
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        self.rows = [row for row in (encode(turns(row), tokenizer, length) for row in rows) if row is not None]
        if not self.rows:
            raise ValueError(f"no answer begins within the first {length} tokens: give a larger --length")
        self.batch, self.seed, self.size = batch, seed, batch * length
        self.facts = {"rows": len(self.rows), "batch": batch, "length": length, "seed": seed}

    def __getitem__(self, i: int) -> dict[str, Int[Tensor, "batch time"]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        chosen = [self.rows[n] for n in torch.randint(len(self.rows), (self.batch,), generator=generator).tolist()]
        longest = max(len(ids) for ids, _ in chosen)
        ids = torch.full((self.batch, longest), self.pad)
        labels, mask = torch.full_like(ids, IGNORE), torch.zeros_like(ids)
        for n, (row, start) in enumerate(chosen):
            ids[n, : len(row)] = torch.tensor(row)
            labels[n, start : len(row)] = ids[n, start : len(row)]
            mask[n, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def encode(messages: list[dict[str, str]], tokenizer, length: int) -> tuple[list[int], int] | None:
    """Ids of a conversation, and where the last answer begins; None if that is beyond the length.

    In the model's own chat template if it has one, else in plain headings.
    """
    *before, last = messages
    if getattr(tokenizer, "chat_template", None):
        prompt = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
    else:
        prompt = "".join(f"### {m['role']}\n{m['content']}\n\n" for m in before) + "### assistant\n"
    start = tokenizer(prompt, add_special_tokens=not getattr(tokenizer, "chat_template", None))["input_ids"]
    start = start[:-1] if start and start[-1] == tokenizer.eos_token_id else start
    said = tokenizer(last["content"], add_special_tokens=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return ((start + said + end)[:length], len(start)) if len(start) < length else None


def load(name: str, method: str, rank: int, alpha: float, checkpointing: bool):
    """The model with updates of every matrix in its blocks; in four bits for "qlora"."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    options = {"dtype": dtype, "use_safetensors": True, "device_map": {"": 0} if gpu else "cpu"}
    if method == "qlora":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(data.model_folder(name), **options)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model.requires_grad_(False), config)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.config.use_cache = False
    return model


def _loss(model, batch: dict[str, Tensor]) -> tuple[Tensor, float]:
    return model(**batch).loss, float((batch["labels"][:, 1:] != IGNORE).sum())


def _paged(model, recipe: TrainingConfig) -> torch.optim.Optimizer:
    if not torch.cuda.is_available():
        raise ValueError("a paged optimizer needs a GPU and its host: leave out --paged on a CPU")
    from bitsandbytes.optim import PagedAdamW32bit

    trained = [p for p in model.parameters() if p.requires_grad]
    return PagedAdamW32bit(trained, recipe.learning_rate, recipe.betas, weight_decay=0.0)


def _config(name: str):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(data.resolve(name))


def _tokenizer(name: str):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(data.resolve(name))


def _warn_of_memory(needed: int) -> None:
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        if needed > free:
            print(
                f"  that is more than the {_size(free)} free of this GPU's {_size(total)}: "
                "take --checkpointing, a smaller --batch or a shorter --length"
            )


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.2f} GB"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fmnotes.finetune", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a hub id, or a folder in its layout")
    parser.add_argument("--data", help="a JSON-lines file, a folder of `datasets`, or a hub id")
    parser.add_argument("--output", help="where the updates are written")
    parser.add_argument("--method", choices=("qlora", "lora"), default="qlora", help="in four bits, or not")
    parser.add_argument("--forecast", action="store_true", help="say what a run would take, and stop")
    parser.add_argument("--checkpointing", action="store_true", help="less memory for about a third more time")
    parser.add_argument("--paged", action="store_true", help="let the optimizer's state leave a GPU that is full")
    defaults = {"rank": 16, "alpha": 32.0, "steps": 500, "batch": 4, "length": 1024, "learning_rate": 2e-4, "seed": 0}
    for name, value in defaults.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help=f"default {value}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
