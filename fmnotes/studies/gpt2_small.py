"""gpt2-museum-small: a language model of 1.3 M parameters that tells stories and answers about scenes put into words.

    make study NAME=gpt2_small

Notebook 04 trains connectors to it while you watch, and compares them over several seeds: with gpt2-museum, eight times
as large, that would take days. What it is asked of a picture it has learned to answer of a line that lists the objects,
so that a connector has nothing to teach it but to see. Stopped at any moment, the same command goes on where it was.
The model is written to `data/checkpoints/gpt2-museum-small`, in half precision and with its tokenizer.
"""

from collections import defaultdict
from itertools import islice

import numpy as np
import torch

from fmnotes import ROOT, generation
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.museum import captions, prompt, questions, scenes
from fmnotes.museum.dice import Dice
from fmnotes.studies.gpt2_museum import loss
from fmnotes.studies.museum_looks import DESCRIBE, LONGEST
from fmnotes.studies.museum_rows import MuseumRows, Row, encoded, stories_bits, tokenizer
from fmnotes.training import Muon, TrainingConfig, in_parts, quick_precision, train

RUNS = ROOT / "runs" / "studies" / "gpt2_small"
SHIPPED = ROOT / "data" / "checkpoints" / "gpt2-museum-small"
CONFIG = GPT2Config(4096, 256, d_model=128, n_layer=4, n_head=4)
SHARES, TURNS, CORES = {"looks": 12, "stories": 2}, 8, 2
ANSWER = 6.0  # what an answer's token counts, where a token of a caption or story counts 1: answers are short
RATES = (4e-3, 3e-3)  # at the peak of each stage; in the first its answers come to be more than guesses
STEPS, EVERY = 2400, 300


class LookRows(MuseumRows):
    """Stories, and scenes in words with what is asked about them."""

    def looks(self, n: int, dice: Dice) -> Row:
        """One scene after another: its line, a caption of it, and questions with their answers; the last is cut."""
        ids, weights = list(encoded(prompt.END)), [1.0]
        while len(ids) <= self.length:
            question, answer, _, scene = questions.draw(dice, "train")
            turns = [(question, answer), (DESCRIBE, captions.sample(scene, dice))]
            turns += [questions.another(dice, scene)[:2] for _ in range(TURNS - len(turns))]
            before = prompt.describe(scene)
            for question, answer in turns:
                asked, said = encoded(before + prompt.build(question)), encoded(answer + prompt.END)
                ids += [*asked, *said]
                count = 1.0 if question == DESCRIBE else ANSWER
                weights += [self.rest] * len(asked) + [count] * (len(said) - 1) + [1.0]
                before = ""
        return ids, weights


@torch.inference_mode()
def answered(model: GPT2, split: str = "validation", number: int = 300) -> dict[str, float]:
    """The share of right answers about scenes in words, by type and as a mean over types; and the stories' bits."""
    end, right = tokenizer().special_tokens[prompt.END], defaultdict(list)
    for row in islice(questions.stream(split), number):
        line = prompt.END + prompt.describe(scenes.Scene.from_row(row)) + prompt.build(row["question"])
        ids = torch.tensor([encoded(line)])
        said = generation.generate(model, ids, LONGEST, temperature=0.0, stop=[end])[0, ids.shape[1] :].tolist()
        said = said[: said.index(end)] if end in said else said
        right[row["type"]].append(tokenizer().decode(said) == row["answer"])
    found = {kind: float(np.mean(right[kind])) for kind in sorted(right)}
    return found | {"mean": float(np.mean(list(found.values()))), "stories, bits per byte": stories_bits(model)}


def main() -> None:
    """Train it, or go on with it, and ship it."""
    torch.set_num_threads(1)  # of each of the two threads that compute
    torch.manual_seed(0)
    model = GPT2(CONFIG)
    parallel = in_parts(loss, CORES, quick_precision())
    for stage, rate in enumerate(RATES):
        recipe = TrainingConfig(
            STEPS, rate, rate / 100, min(100, STEPS), log_every=20, eval_every=EVERY, save_every=EVERY
        )
        batches = LookRows(CONFIG.context_length, SHARES, seed=stage)
        train(model, parallel, batches, recipe, RUNS / str(stage), evaluate=answered, optimizer=Muon)
    model.save_pretrained(SHIPPED, torch.float16, end_token_id=tokenizer().special_tokens[prompt.END])
    tokenizer().save_pretrained(SHIPPED)


if __name__ == "__main__":
    main()
