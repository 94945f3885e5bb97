"""Real text: a model of 12 blocks, 256 wide, reads TinyStories; ours and transformers', on the same batches.

About two and a half hours of one core. `python -m fmnotes.studies.training_tinystories fmnotes` trains one of the two,
`transformers` the other; each can be stopped and goes on where it was. `look` writes down what they are like by then.

    make study NAME=training_tinystories
"""

import json
import sys

import torch
from safetensors.torch import load_model

from fmnotes import ROOT, data, evaluation, generation
from fmnotes.bpe import Tokenizer, train_bpe
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.gpt2.loss import linear_cross_entropy
from fmnotes.museum import SPECIAL_TOKENS
from fmnotes.training import (
    TokenBatches,
    TrainingConfig,
    latest_checkpoint,
    quick_precision,
    read_metrics,
    row_of_ids,
    train,
)

STUDY = ROOT / "data" / "studies" / "training_tinystories"
RUNS = ROOT / "runs" / "studies" / "training_tinystories"
DATA = "roneneldan/TinyStories"
STORIES = 11_272  # of two million on the hub, so that everybody trains on the same
VOCAB_SIZE, CONTEXT, BATCH_SIZE = 10_000, 256, 8
EPOCHS, LEARNING_RATE, WARMUP = 3, 1.5e-3, 200
EVERY, HELD_OUT = 200, 12  # steps between two evaluations; batches that one reads
MODELS = ("fmnotes", "transformers")
DRAWN, SHOWN, TEMPERATURE = 60, 10, 0.8
WORDS = 5_000  # distinct-n falls with the number of words, so it is counted over as many for all


def stories(split: str) -> list[str]:
    """The first stories of a split."""
    rows = data.load(DATA, split=split, columns=["text"], streaming=True)
    return [row["text"] for row in rows.take(STORIES)]


def tokenizer() -> Tokenizer:
    """The vocabulary of notebook 01's real profile, trained on the same stories; made once."""
    folder = RUNS / "tokenizer"
    if not folder.exists():
        train_bpe(stories("train"), VOCAB_SIZE, SPECIAL_TOKENS).save_pretrained(folder)
    return Tokenizer.from_pretrained(folder)


def fresh(name: str, config: GPT2Config) -> torch.nn.Module:
    """An untrained model, initialised by its own code."""
    if name == "fmnotes":
        return GPT2(config)
    import transformers

    from fmnotes.gpt2.checkpoints import to_hf_config

    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**to_hf_config(config)))


def loss(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy in nats: each model's own hidden states and head, and one loss for both."""
    if isinstance(model, GPT2):
        return model.loss(*batch)
    hidden = model.transformer(batch[0], use_cache=False).last_hidden_state
    return linear_cross_entropy(hidden.flatten(0, 1), model.lm_head.weight, batch[1].flatten())


def recipe(n_windows: int) -> TrainingConfig:
    """EPOCHS readings of so many windows."""
    steps = EPOCHS * n_windows // BATCH_SIZE
    return TrainingConfig(
        steps,
        LEARNING_RATE,
        min_learning_rate=LEARNING_RATE / 10,
        warmup_steps=min(WARMUP, steps // 2),
        precision=quick_precision(),
        log_every=20,
        eval_every=EVERY,
        save_every=EVERY,
    )


def train_one(name: str) -> None:
    """Train a model, or go on with it."""
    tokens, config = tokenizer(), GPT2Config.mini(VOCAB_SIZE, CONTEXT)
    seen, unseen = (
        TokenBatches(row_of_ids(stories(split), tokens), CONTEXT, BATCH_SIZE, VOCAB_SIZE)
        for split in ("train", "validation")
    )

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        return {"val_loss": sum(loss(model, unseen[i]).item() for i in range(HELD_OUT)) / HELD_OUT}

    torch.manual_seed(0)
    model = fresh(name, config)
    train(model, loss, seen, recipe(seen.windows), RUNS / name, evaluate=evaluate)


def opened(name: str) -> GPT2:
    """A model as its last checkpoint has it, also put into `RUNS/name/model` in the layout of Hugging Face."""
    model = fresh(name, GPT2Config.mini(VOCAB_SIZE, CONTEXT))
    load_model(model, latest_checkpoint(RUNS / name) / "model.safetensors")
    model = model if isinstance(model, GPT2) else GPT2.from_transformers(model)
    model.save_pretrained(RUNS / name / "model")
    return model.eval()


@torch.inference_mode()
def told(model: GPT2, tokens: Tokenizer, n: int, prompt: str = "") -> list[str]:
    """n stories that begin with the prompt, drawn at TEMPERATURE, each to its end or the context's."""
    end, special = tokens.special_tokens["<|endoftext|>"], set(tokens.special_tokens.values())
    first = torch.tensor([[end, *tokens.encode(prompt)]]).expand(n, -1)
    room = model.config.context_length - first.shape[1]
    rows = generation.generate(model, first, room, stop=[end], temperature=TEMPERATURE, seed=0)
    return [tokens.decode([token for token in row if token not in special]).strip() for row in rows.tolist()]


def quality(texts: list[str], reader: GPT2, tokens: Tokenizer) -> dict[str, float]:
    """What can be counted of a crowd of stories (its first WORDS words), and how plausible a model finds them."""
    counted = [" ".join(" ".join(texts).split()[:WORDS])]
    return {
        "distinct_2": evaluation.distinct(counted, 2),
        "distinct_3": evaluation.distinct(counted, 3),
        "repetition": sum(map(evaluation.repetition, texts)) / len(texts),
        "perplexity": evaluation.score(reader, tokens, texts).token_perplexity,
    }


def look() -> dict:
    """The models' curves, samples and qualities, as far as they are trained."""
    tokens, (ours, theirs) = tokenizer(), map(opened, MODELS)
    drawn, others, real = told(ours, tokens, DRAWN), told(theirs, tokens, DRAWN), stories("validation")[:DRAWN]
    logs = {name: read_metrics(RUNS / name / "metrics.jsonl") for name in MODELS}
    curves = {name: [[x["step"], x["val_loss"]] for x in lines if "val_loss" in x] for name, lines in logs.items()}
    return {
        "epochs": EPOCHS,
        "steps": recipe(TokenBatches(row_of_ids(stories("train"), tokens), CONTEXT, 1, VOCAB_SIZE).windows).steps,
        "curves": curves,
        "quality": {
            "ours, read by theirs": quality(drawn, theirs, tokens),
            "theirs, read by ours": quality(others, ours, tokens),
            "real, read by theirs": quality(real, theirs, tokens),
            "real, read by ours": quality(real, ours, tokens),
        },
        "samples": told(ours, tokens, 1, "Once upon a time") + drawn[:SHOWN],
    }


def main() -> None:
    """Do what the command line names; without it, everything."""
    for name in sys.argv[1:] or [*MODELS, "look"]:
        if name != "look":
            train_one(name)
            continue
        STUDY.mkdir(parents=True, exist_ok=True)
        found = json.loads(json.dumps(look()), parse_float=lambda number: round(float(number), 4))
        (STUDY / "curves.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
