"""clip-museum, the towers of the course: ViT-tiny and a BERT of four layers, on pictures that never come twice.

    make study NAME=clip_museum

Stopped at any moment, the same command goes on where it was. In the end the model is written to
`data/checkpoints/clip-museum`, in half precision and with its tokenizer.
"""

import torch

from fmnotes import ROOT, clip
from fmnotes.studies.museum_pairs import MuseumPairs, examined, loss
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.training import Muon, TrainingConfig, train

RUNS = ROOT / "runs" / "studies" / "clip_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "clip-museum"
PICTURES, CAPTIONS, STEPS, EVERY = 256, 4, 2000, 200
RATE = 4e-3


def main() -> None:
    """Train, or go on, and ship."""
    torch.manual_seed(0)
    model = clip.CLIP(clip.CLIPConfig.tiny())
    recipe = TrainingConfig(
        STEPS,
        RATE,
        min_learning_rate=RATE / 50,
        warmup_steps=min(100, STEPS // 8),
        precision="bf16",
        log_every=20,
        eval_every=EVERY,
        save_every=EVERY,
    )
    train(model, loss, MuseumPairs(PICTURES, CAPTIONS), recipe, RUNS, evaluate=examined, optimizer=Muon)
    model.save_pretrained(SHIPPED, torch.float16)
    tokenizer().save_pretrained(SHIPPED)


if __name__ == "__main__":
    main()
