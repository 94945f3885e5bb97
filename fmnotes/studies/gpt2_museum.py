"""gpt2-museum, the language model of the course: 12 blocks, 256 wide, trained in stages, each from the end of the last.

    make study NAME=gpt2_museum

Four blocks learn to read first, in short contexts and then in long ones, at a fraction of what twelve would cost. Then
the others are put between them (`deepened`), as blocks that change nothing, and all of them go on, over the whole
context. Stopped at any moment, the same command goes on where it was. After the last stage the model is written to
`data/checkpoints/gpt2-museum`, in half precision and with its tokenizer.
"""

import sys
from dataclasses import dataclass

import torch
from safetensors.torch import load_model
from torch import nn

from fmnotes import ROOT
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.museum import prompt
from fmnotes.studies.museum_rows import MuseumRows, examined, tokenizer
from fmnotes.training import Muon, TrainingConfig, in_parts, latest_checkpoint, quick_precision, train

RUNS = ROOT / "runs" / "studies" / "gpt2_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "gpt2-museum"
VOCABULARY, CONTEXT, CORES = 4096, 1024, 2


@dataclass(frozen=True)
class Stage:
    """A part of the training, on rows of `MuseumRows`, at a rate that ends at `last_rate`."""

    n_layer: int
    length: int
    shares: dict[str, int]
    pages: tuple[int, int]
    first: float  # what an answer's first token counts, where each other one counts 1
    steps: int
    rate: float
    last_rate: float
    every: int  # steps between two looks and checkpoints
    abroad: int = 0  # of a hundred rows of reading, how many hold pages of another museum
    balanced: bool = False  # whether as many questions are of two hops as of one


PAGES = (1, 5)
STAGES = {
    "short": Stage(4, 256, {"reading": 16}, (1, 2), 1.0, 2000, 4e-3, 4e-3, 200),
    "long": Stage(4, 640, {"reading": 7, "stories": 4, "others": 1}, PAGES, 4.0, 3000, 4e-3, 1.5e-3, 200),
    "deep": Stage(12, 640, {"reading": 6, "stories": 5, "others": 1}, PAGES, 4.0, 726, 2.5e-3, 2.5e-3, 200, abroad=20),
    "slow": Stage(12, 640, {"reading": 6, "stories": 5, "others": 1}, PAGES, 4.0, 614, 1.5e-3, 5.7e-4, 150, abroad=20),
    "last": Stage(12, 1024, {"reading": 5, "stories": 2, "others": 1}, PAGES, 4.0, 560, 1.2e-3, 3e-5, 140, 20, True),
}


def config(n_layer: int) -> GPT2Config:
    """The shape of the model; in the first stages with fewer blocks."""
    return GPT2Config(VOCABULARY, CONTEXT, d_model=256, n_layer=n_layer, n_head=8)


def loss(model: GPT2, batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss of a batch of `MuseumRows`, and what its targets count together."""
    return model.loss(*batch), batch[2].sum()


def deepened(model: GPT2, n_layer: int) -> GPT2:
    """A model with more blocks that computes the same: behind each of the old ones come new ones that add zero."""
    old = model.config.n_layer
    if n_layer % old:
        raise ValueError(f"{old} blocks become a multiple of {old}, not {n_layer}")
    new = GPT2(GPT2Config(**{**vars(model.config), "n_layer": n_layer}))
    state = model.state_dict()
    for name, parameter in new.named_parameters():
        part, _, rest = name.partition(".")
        if part != "h":
            parameter.data.copy_(state[name])
            continue
        block, _, rest = rest.partition(".")
        if int(block) % (n_layer // old) == 0:
            parameter.data.copy_(state[f"h.{int(block) * old // n_layer}.{rest}"])
        elif ".c_proj." in rest:
            nn.init.zeros_(parameter)
    return new


def trained(name: str, before: GPT2 | None) -> GPT2:
    """Train a stage to its end, or go on with it, from the model that the stage before has left."""
    stage = STAGES[name]
    torch.manual_seed(0)
    model = GPT2(config(stage.n_layer)) if before is None else deepened(before, stage.n_layer)
    recipe = TrainingConfig(
        stage.steps,
        stage.rate,
        min_learning_rate=stage.last_rate,
        warmup_steps=min(100, stage.steps // 6),
        log_every=20,
        eval_every=stage.every,
        save_every=stage.every,
    )
    n = list(STAGES).index(name)
    kinds = {"first": stage.first, "abroad": stage.abroad, "balanced": stage.balanced}
    batches = MuseumRows(stage.length, stage.shares, stage.pages, **kinds, seed=n)
    sizes = tuple(range(max(1, stage.pages[1] - 2), stage.pages[1] + 1))
    parallel = in_parts(loss, CORES, quick_precision())
    train(model, parallel, batches, recipe, RUNS / name, evaluate=lambda m: examined(m, sizes), optimizer=Muon)
    return model


def finished(name: str) -> GPT2 | None:
    """The model at the end of a stage; None if it is not there yet."""
    folder = latest_checkpoint(RUNS / name) if (RUNS / name).exists() else None
    if folder is None or folder.name != f"step-{STAGES[name].steps:08d}":
        return None
    model = GPT2(config(STAGES[name].n_layer))
    load_model(model, folder / "model.safetensors")
    return model


def ship(model: GPT2) -> None:
    """Write the model and its tokenizer where `data.checkpoint` and the libraries find them."""
    model.save_pretrained(SHIPPED, torch.float16, end_token_id=tokenizer().special_tokens[prompt.END])
    tokenizer().save_pretrained(SHIPPED)


def main() -> None:
    """Train all stages and ship the model, or train those up to the one that the command line names."""
    torch.set_num_threads(1)  # of each of the two threads that compute
    last = sys.argv[1] if len(sys.argv) > 1 else list(STAGES)[-1]
    model = None
    for name in list(STAGES)[: list(STAGES).index(last) + 1]:
        model = finished(name) or trained(name, model)
    if name == list(STAGES)[-1]:
        ship(model)


if __name__ == "__main__":
    main()
