"""Pictures of the museum with questions or captions, as prompts of a vision-language model, and an exam of it."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmnotes import clip, metrics
from fmnotes.connector import VisionLanguageModel
from fmnotes.gpt2.loss import IGNORE
from fmnotes.museum import captions, prompt, questions, render, scenes
from fmnotes.museum.forms import FORMS, Larger, Relation, Same, Side
from fmnotes.museum.world import dice_for
from fmnotes.studies.museum_rows import encoded, tokenizer
from fmnotes.training import shuffled

if TYPE_CHECKING:
    from jaxtyping import Float

    from fmnotes.museum.dice import Dice

DESCRIBE = "What is in the picture?"  # the question to which a caption is the answer
LIST = "What is where?"  # and this one's answer is the scene's line
COMPARED = [form for forms in FORMS.values() for form in forms if isinstance(form, Relation | Side | Larger)]
COMPARED += [form for form in FORMS["comparison"] if isinstance(form, Same) and form.field == "size"]
LONGEST = 12  # tokens of an answer
SEED = 0  # of the pictures that are shown again and again


def asked(question: str, image_tokens: int) -> list[int]:
    """A prompt up to where the model is to answer."""
    return [*encoded(prompt.END), *encoded(prompt.build(question, image_tokens=image_tokens))]


class MuseumLooks:
    """Batches of pictures, each with questions and their answers, or with captions: each a function of its number.

    All turns about a picture stand in one row (Liu et al. 2023, section 4.2): the picture is read once for all of them.

    Args:
        image_tokens: those of the connector.
        pictures: so many in a batch.
        stage: "align": captions; "instruct": questions, the first one's answer cannot be guessed; "places": such a
            question, comparisons of two things, alone or step by step, a question, and at the end, where no answer can
            be read from it, the scene's line; "again": questions as in "instruct", with one such comparison.
        turns: captions, or questions, about each picture; in the last two stages about as many.
        seed: batches of different seeds share nothing, but the pictures of `patches`.
        patches: of the pictures that `seen` has looked at. These are shown again and again, in an order that changes
            and with other questions each time, and a batch holds their patches in the place of pixels. None: a picture
            is never shown twice.
    """

    unit = "answers"

    def __init__(
        self,
        image_tokens: int,
        pictures: int,
        stage: str = "instruct",
        turns: int = 1,
        seed: int = 0,
        patches: np.ndarray | None = None,
    ):
        self.image_tokens, self.pictures, self.stage = image_tokens, pictures, stage
        self.turns, self.seed, self.size, self.patches = turns, seed, pictures * turns, patches
        self.facts = {"image_tokens": image_tokens, "pictures": pictures, "stage": stage}
        self.facts |= {"turns": turns, "seed": seed} | ({} if patches is None else {"of": len(patches)})

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch i: pixels or patches, ids, and targets; of these, all but the answers' are IGNORE."""
        numbers = range(i * self.pictures, (i + 1) * self.pictures)
        if self.patches is None:
            drawn = [picture(self.seed, n) for n in numbers]
            shown = clip.pixel_values(render([scene for *_, scene in drawn]))
        else:
            _, items = shuffled(len(self.patches), self.seed, numbers[0], self.pictures)
            drawn = [picture(SEED, n) for n in items.tolist()]
            shown = torch.from_numpy(self.patches[items]).float()
        rows = [row(self._turns(n, *one), self.image_tokens) for n, one in zip(numbers, drawn, strict=True)]
        return shown, *laid_out(rows)

    def _turns(self, n: int, question: str, answer: str, scene: scenes.Scene) -> list[tuple[str, str]]:
        dice = dice_for("looks-turns", "train", self.seed, n)
        if self.stage == "align":
            return [(DESCRIBE, captions.sample(scene, dice)) for _ in range(self.turns)]
        if self.stage == "places":
            line = prompt.describe(scene).replace(prompt.IMAGE, "")
            compared = step_by_step(dice, scene) + step_by_step(dice, scene)
            return [(question, answer), *compared, questions.another(dice, scene)[:2], (LIST, line)]
        if self.stage == "again":
            others = [questions.another(dice, scene)[:2] for _ in range(self.turns - 3)]
            return [(question, answer), *step_by_step(dice, scene), *others]
        return [(question, answer), *(questions.another(dice, scene)[:2] for _ in range(self.turns - 1))]


def step_by_step(dice: Dice, scene: scenes.Scene) -> list[tuple[str, str]]:
    """A question that compares two things of a scene; half of the time what it needs of each is asked before it.

    Empty where no two things can be told apart by colour and shape. What has to be fetched twice and then compared is
    learned late from answers of one bit; so the first steps get answers of their own.
    """
    pairs = [thing.pair for thing in scene.objects]
    alone = [thing for thing in scene.objects if pairs.count(thing.pair) == 1]
    if len(alone) < 2:
        return []
    two = dice.shuffled(alone)[:2]
    names = [" ".join(thing.pair) for thing in two]
    for _ in range(8):
        form = dice.choice(COMPARED)
        slots = form.ask(dice, [thing.pair for thing in two]) | {"r": f"the {names[0]}", "q": f"the {names[1]}"}
        question = form.say(dice, slots)
        if (right := questions.answer(question, scene)) is not None:
            break
    else:
        return []
    of_size = isinstance(form, Larger | Same)
    ask = "What size is the {}?" if of_size else "Where is the {}?"
    needed = [thing.size if of_size else f"{thing.row} {thing.column}" for thing in two]
    steps = [(ask.format(name), found) for name, found in zip(names, needed, strict=True)]
    return (steps if dice.below(2) == 0 else []) + [(question, right)]


@lru_cache(maxsize=16_384)
def picture(seed: int, n: int) -> tuple[str, str, scenes.Scene]:
    """Picture n, and a question about it with its answer."""
    question, answer, _, scene = questions.draw(dice_for("looks", "train", seed, n), "train")
    return question, answer, scene


@torch.inference_mode()
def seen(visual: torch.nn.Module, number: int, batch_size: int = 64) -> Float[np.ndarray, "number patches d_vision"]:
    """What a tower makes of the first pictures, in half precision: one that is frozen need not look twice."""
    parts = []
    for start in range(0, number, batch_size):
        shown = [picture(SEED, n)[2] for n in range(start, min(start + batch_size, number))]
        parts.append(visual.patches(clip.pixel_values(render(shown))).half().numpy())
    return np.concatenate(parts)


def row(turns: list[tuple[str, str]], image_tokens: int) -> tuple[list[int], list[int]]:
    """Ids of a picture's questions with their answers, one after another, and their targets."""
    ids, targets = [], []
    for number, (question, answer) in enumerate(turns):
        before = encoded(prompt.build(question)) if number else asked(question, image_tokens)
        said = encoded(answer + prompt.END)
        ids += [*before, *said]
        targets += [IGNORE] * len(before) + list(said)
    return ids[:-1], targets[1:]


def laid_out(rows: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids and targets, filled up with padding."""
    length = max(len(ids) for ids, _ in rows)
    pad = encoded(prompt.PAD)[0]
    ids = torch.tensor([row + [pad] * (length - len(row)) for row, _ in rows])
    return ids, torch.tensor([row + [IGNORE] * (length - len(row)) for _, row in rows])


def loss(model: VisionLanguageModel, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The mean loss of the answers' tokens, of a batch of `MuseumLooks`."""
    shown, ids, targets = batch
    return model.loss(ids, targets, shown if shown.ndim == 3 else model.patches(shown))


@torch.inference_mode()
def answers(
    model: VisionLanguageModel,
    shown: np.ndarray | torch.Tensor | None,
    asked_of: list[str],
    batch_size: int = 64,
    longest: int = LONGEST,
) -> list[str]:
    """What the model answers to each question about the picture of the same number, or with no picture at all.

    Args:
        shown: pictures, (n, 64, 64, 3), or what the model's tower has made of them, (n, patches, width).
    """
    tokens = 0 if shown is None else model.config.n_tokens
    prompts = [asked(question, tokens) for question in asked_of]
    by_length = defaultdict(list)
    for n, ids in enumerate(prompts):
        by_length[len(ids)].append(n)
    end, said = tokenizer().special_tokens[prompt.END], [""] * len(prompts)
    for group in by_length.values():
        for start in range(0, len(group), batch_size):
            part = group[start : start + batch_size]
            if shown is not None:
                patches = shown[part] if shown.ndim == 3 else model.patches(clip.pixel_values(shown[part]))
            else:
                patches = None
            found = model.generate(torch.tensor([prompts[n] for n in part]), patches, longest, stop=[end])
            for n, ids in zip(part, found, strict=True):
                said[n] = tokenizer().decode(ids)
    return said


@lru_cache(maxsize=4)
def exam(split: str, number: int) -> tuple[np.ndarray, list[dict]]:
    """The first questions of a split with their pictures."""
    rows = list(islice(questions.stream(split), number))
    return render([scenes.Scene.from_row(row) for row in rows]), rows


@torch.inference_mode()
def examined(model: VisionLanguageModel, splits: tuple[str, ...] = ("validation",), number: int = 300) -> dict:
    """The share of right answers by type and their mean; and blind: with others' pictures, and with no picture."""
    found = {}
    for split in splits:
        images, rows = exam(split, number)
        parts = [model.patches(clip.pixel_values(part)) for part in np.array_split(images, -(-number // 64))]
        patches = torch.cat(parts)
        views = {split: patches, f"{split}, blind": patches.roll(1, 0), f"{split}, no picture": None}
        for name, shown in views.items():
            said = answers(model, shown, [row["question"] for row in rows])
            right = defaultdict(list)
            for row, answer in zip(rows, said, strict=True):
                right[row["type"]].append(answer == row["answer"])
            shares = {kind: float(np.mean(right[kind])) for kind in sorted(right)}
            found |= {f"{name}, {kind}": share for kind, share in shares.items()}
            found[f"{name}, mean"] = float(np.mean(list(shares.values())))
    return found


@torch.inference_mode()
def captioned(model: VisionLanguageModel, split: str = "validation", number: int = 100) -> dict[str, float]:
    """BLEU-4 and CIDEr of the model's captions of a split's first pictures, against all that the museum has of each."""
    rows = list(islice(captions.stream(split), number))
    images = render([scenes.Scene.from_row(row) for row in rows])
    said = answers(model, images, [DESCRIBE] * number, longest=48)
    given = [row["captions"] for row in rows]
    return {f"{split}, BLEU-4": metrics.bleu(said, given), f"{split}, CIDEr": metrics.cider(said, given)}
