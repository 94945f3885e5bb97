"""How hard the pictures are: what a linear map of the pixels can tell of them, and what a small network can.

A picture is worth learning from if its pixels alone do not give the answer away, and if one who has learned to see
finds it. Both are measured on pictures of one object, for its colour, its shape, and the pair.

    python -m fmnotes.museum.probes      measures the network once and writes data/studies/museum_probe/result.json
"""

import json
import time
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from fmnotes.museum.render import render
from fmnotes.museum.scenes import Scene, stream
from fmnotes.museum.world import COLOURS, SHAPES, TRAIN_PAIRS

STUDY = Path(__file__).parents[2] / "data" / "studies" / "museum_probe"
Pictures = UInt8[np.ndarray, "n 64 64 3"]
Labels = dict[str, Int[np.ndarray, " n"]]


def single_objects(split: str, n: int, seed: int = 0) -> tuple[Pictures, Labels]:
    """Pictures of one object, and the numbers of its colour, its shape and its pair."""
    scenes = (Scene.from_row(row) for row in stream(split, seed) if len(row["objects"]) == 1)
    scenes = list(islice(scenes, n))
    things = [scene.objects[0] for scene in scenes]
    labels = {
        "colour": np.array([COLOURS.index(thing.colour) for thing in things]),
        "shape": np.array([SHAPES.index(thing.shape) for thing in things]),
        "pair": np.array([TRAIN_PAIRS.index(thing.pair) for thing in things]),
    }
    return render(scenes), labels


def pixel_probe(n_train: int, n_test: int, seed: int = 0) -> dict[str, float]:
    """Accuracy of the best ridge classifier on raw pixels, for colour, shape and pair.

    One regression on one-hot labels, solved in its dual form, w = Xᵀ(XXᵀ + λI)⁻¹Y. Of six values of λ the best on the
    test pictures counts: the probe is given every advantage.
    """
    train, labels = single_objects("train", n_train, seed)
    test, wanted = single_objects("test", n_test, seed)
    mean = train.reshape(n_train, -1).mean(axis=0)
    x = (train.reshape(n_train, -1) - mean).astype(np.float32) / 255
    x_test = (test.reshape(n_test, -1) - mean).astype(np.float32) / 255
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    across = (x_test @ x.T) @ vectors
    best = dict.fromkeys(labels, 0.0)
    for task, label in labels.items():
        onehot = np.eye(label.max() + 1)[label]
        target = vectors.T @ (onehot - onehot.mean(axis=0))
        for strength in 10.0 ** np.arange(-2, 4):
            guess = (across @ (target / (values[:, None] + strength)) + onehot.mean(axis=0)).argmax(axis=1)
            best[task] = max(best[task], float((guess == wanted[task]).mean()))
    return best


def network_probe(n_train: int, n_test: int, epochs: int, seed: int = 0) -> dict[str, float]:
    """Accuracy of a small convolutional network trained on the pair, for colour, shape and pair, in one run."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    widths = (3, 24, 48, 96, 96)
    blocks: list[nn.Module] = []
    for narrow, wide in zip(widths, widths[1:]):
        blocks += [nn.Conv2d(narrow, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(widths[-1], len(TRAIN_PAIRS)))
    steps = epochs * (n_train // 128)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)

    def tensor(pictures: Pictures) -> torch.Tensor:
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 128 - 1

    train, labels = single_objects("train", n_train, seed)
    pair = torch.from_numpy(labels["pair"])
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(n_train)
        for batch in np.array_split(order, n_train // 128):
            loss = nn.functional.cross_entropy(network(tensor(train[batch])), pair[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    test, wanted = single_objects("test", n_test, seed)
    network.eval()
    with torch.no_grad():
        guess = torch.cat([network(tensor(test[i : i + 256])) for i in range(0, n_test, 256)]).argmax(dim=1).numpy()
    parts = {"colour": [COLOURS.index(c) for c, _ in TRAIN_PAIRS], "shape": [SHAPES.index(s) for _, s in TRAIN_PAIRS]}
    parts["pair"] = list(range(len(TRAIN_PAIRS)))
    return {task: float((np.array(numbers)[guess] == wanted[task]).mean()) for task, numbers in parts.items()}


def main() -> None:
    """Measure both probes once and write what came out."""
    start = time.process_time()
    settings = {"n_train": 12000, "n_test": 2000, "epochs": 8, "seed": 0}
    network = network_probe(**settings)
    minutes = (time.process_time() - start) / 60
    linear = {"n_train": 4000, "n_test": 2000, "seed": 0}
    result = {
        "network": {"settings": settings, "accuracy": network, "cpu_minutes": round(minutes, 1)},
        "pixels": {"settings": linear, "accuracy": pixel_probe(**linear)},
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
