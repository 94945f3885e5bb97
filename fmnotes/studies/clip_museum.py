"""clip-museum, the towers of the course: ViT-tiny and a BERT of four layers, on pictures that never come twice.

    make study NAME=clip_museum

Four blocks of the picture tower learn to see first, at a third of what twelve would cost: single objects, and where
they stand, which a tower that tells pictures apart by colours and shapes hardly learns any more (the study's log). Then
come scenes of several, in every other batch. Then the patches get a second teacher, who makes them tell the captions
word by word (`museum_captioner`). Then the other blocks are put between the four (`deepened`), as blocks that change
nothing. In the end come large batches, captions as the museum says them, and the contrastive loss alone.

Stopped at any moment, the same command goes on where it was. After the last stage the model is written to
`data/checkpoints/clip-museum`, in half precision and with its tokenizer.
"""

import sys
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load_model
from torch import nn

from fmnotes import ROOT, clip
from fmnotes.studies import museum_captioner
from fmnotes.studies.museum_captioner import Told
from fmnotes.studies.museum_pairs import MuseumPairs, examined, loss
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.training import Muon, TrainingConfig, latest_checkpoint, quick_precision, train

RUNS = ROOT / "runs" / "studies" / "clip_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "clip-museum"


@dataclass(frozen=True)
class Stage:
    """A part of the training, at a rate that ends at `last_rate`."""

    n_layer: int  # of the picture tower
    pictures: int  # in a batch
    captions: int  # of each picture
    where: int  # of these, how many say where something stands
    alone: int  # of so many batches, one of single objects; 0: none
    steps: int
    rate: float
    last_rate: float
    every: int  # steps between two looks and checkpoints
    told: bool = False  # whether the patches must tell the captions, too


STAGES = {
    "alone": Stage(4, 64, 4, 3, 1, 600, 3e-3, 3e-3, 200),
    "several": Stage(4, 64, 4, 3, 2, 3500, 3e-3, 1e-3, 500),
    "told": Stage(4, 64, 4, 3, 4, 800, 2e-3, 1e-3, 200, told=True),
    "deep": Stage(12, 64, 4, 1, 0, 1600, 1.2e-3, 2e-5, 200, told=True),
    "longer": Stage(12, 64, 4, 1, 0, 3200, 1.2e-3, 1e-5, 200, told=True),
    "wide": Stage(12, 256, 2, 0, 0, 250, 1e-3, 1e-5, 50),
}


def config(n_layer: int) -> clip.CLIPConfig:
    """The shape of the model; in the first stages with fewer blocks."""
    return replace(clip.CLIPConfig.tiny(), vision_n_layer=n_layer)


def deepened(model: clip.CLIP, n_layer: int) -> clip.CLIP:
    """A model that computes the same with more blocks: behind each of the old ones come new ones that add zero."""
    old = model.config.vision_n_layer
    if n_layer % old:
        raise ValueError(f"{old} blocks become a multiple of {old}, not {n_layer}")
    new, state = clip.CLIP(replace(model.config, vision_n_layer=n_layer)), model.state_dict()
    for name, parameter in new.named_parameters():
        before, _, rest = name.partition("visual.blocks.")
        block, _, rest = rest.partition(".")
        if before:
            parameter.data.copy_(state[name])
        elif int(block) % (n_layer // old) == 0:
            parameter.data.copy_(state[f"visual.blocks.{int(block) * old // n_layer}.{rest}"])
        elif rest.startswith(("attn.proj", "mlp.fc2")):
            nn.init.zeros_(parameter)
    return new


def trained(name: str, before: clip.CLIP | Told | None) -> clip.CLIP | Told:
    """Train a stage to its end, or go on with it, from the model that the stage before has left."""
    stage = STAGES[name]
    torch.manual_seed(0)
    model = start(stage, before)
    recipe = TrainingConfig(
        stage.steps,
        stage.rate,
        min_learning_rate=stage.last_rate,
        warmup_steps=min(40, stage.steps // 6),
        precision=quick_precision(),
        log_every=20,
        eval_every=stage.every,
        save_every=stage.every,
    )
    batches = MuseumPairs(stage.pictures, stage.captions, stage.where, stage.alone, seed=list(STAGES).index(name))
    step_loss = museum_captioner.loss if stage.told else loss
    train(model, step_loss, batches, recipe, RUNS / name, evaluate=lambda m: examined(towers(m)), optimizer=Muon)
    return model


def start(stage: Stage, before: clip.CLIP | Told | None) -> clip.CLIP | Told:
    """The model that a stage begins with: the one before, deeper or with a captioner if the stage wants it so."""
    if before is None:
        return clip.CLIP(config(stage.n_layer))
    deep = deepened(towers(before), stage.n_layer)
    if not stage.told:
        return deep
    model = Told(deep)
    if isinstance(before, Told):
        model.captioner = before.captioner
    return model


def towers(model: clip.CLIP | Told) -> clip.CLIP:
    """The model without its captioner."""
    return model.towers if isinstance(model, Told) else model


def finished(name: str) -> clip.CLIP | Told | None:
    """The model at the end of a stage; None if it is not there yet."""
    folder = latest_checkpoint(RUNS / name) if (RUNS / name).exists() else None
    if folder is None or folder.name != f"step-{STAGES[name].steps:08d}":
        return None
    model = clip.CLIP(config(STAGES[name].n_layer))
    model = Told(model) if STAGES[name].told else model
    load_model(model, folder / "model.safetensors")
    return model


def main() -> None:
    """Train all stages and ship the model, or train those up to the one that the command line names."""
    last = sys.argv[1] if len(sys.argv) > 1 else list(STAGES)[-1]
    model = None
    for name in list(STAGES)[: list(STAGES).index(last) + 1]:
        model = finished(name) or trained(name, model)
    if name == list(STAGES)[-1]:
        towers(model).save_pretrained(SHIPPED, torch.float16)
        tokenizer().save_pretrained(SHIPPED)


if __name__ == "__main__":
    main()
