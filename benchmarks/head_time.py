"""Time of the heads of two recipes in training runs on the same data, with the same encoder and epochs.

python benchmarks/head_time.py DATA/wordnet [--recipes renee cascadexml] [--encoder bag] [--epochs 2]

Both recipes train with their presets, alternating after a number of steps, so that other load on the machine slows
both equally. Head time is that of the loss, of its backward pass down to the views, and of the head's optimizer,
without the encoder and the preparation of batches. Training runs to its end, so that candidates are those of a
real training of the cascade. The shortlist recall of each level, the fraction of positive clusters that the level
itself ranked into its beam, is that since the previous line of the log.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import record
import torch
from data_sets import opened

from megalabel.recipes import from_preset


class Timed:
    """Measures the time of a recipe's head."""

    def __init__(self, recipe: Any) -> None:
        self.recipe, self.seconds, self.steps = recipe, 0.0, 0
        self.told: dict[str, float] = {}
        self.loss = recipe.head.loss
        recipe.head.loss = self._loss
        recipe.optimizers["head"].step = self._of(recipe.optimizers["head"].step)

    def _of(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = work(*arguments, **named)
            self.seconds += time.perf_counter() - begun
            return result

        return timed

    def _loss(self, views: torch.Tensor, positives: Any) -> torch.Tensor:
        """Measures forward and backward of the head; returns a loss with the same gradient for the encoder."""
        leaf = views.detach().requires_grad_()

        def forward_and_backward() -> torch.Tensor:
            loss = self.loss(leaf, positives)
            loss.backward()
            return loss.detach()

        value = self._of(forward_and_backward)()
        surrogate = (views * leaf.grad).sum()
        return surrogate - surrogate.detach() + value

    def stretches(self, steps: int) -> Iterator[None]:
        """Trains, and yields after every `steps` steps."""
        from megalabel.training.loop import scaler_for, train_step

        recipe, device = self.recipe, torch.device("cpu")
        scaler = scaler_for(device, recipe.precision)

        class Kept:
            """A log that stores the last metrics of the head."""

            def step(_, step: int, texts: int, loss: float, facts: dict[str, float]) -> None:
                self.told |= {name: value for name, value in facts.items() if name.startswith("recall")}

        for batch in recipe.batches.from_step(0):
            train_step(recipe, batch, device, scaler, Kept())  # type: ignore[arg-type]
            self.steps += 1
            if self.steps % steps == 0:
                yield
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--recipes", nargs=2, default=["renee", "cascadexml"])
    parser.add_argument("--encoder", default="bag")
    parser.add_argument("--epochs", type=int, help="default: the presets'")
    parser.add_argument("--stretch", type=int, default=100, help="steps before the other recipe has its turn")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    data = opened(options.data)
    more = {"epochs": options.epochs} if options.epochs else {}
    runs = {
        recipe: Timed(from_preset(recipe, data, encoder=options.encoder, **more)) for recipe in options.recipes
    }
    for _ in itertools.zip_longest(*(run.stretches(options.stretch) for run in runs.values())):
        print({recipe: f"{run.seconds:.1f} s of {run.steps} steps" for recipe, run in runs.items()}, flush=True)
    first, second = runs.values()
    epochs = first.recipe.arguments["epochs"]
    size = f"{data.name} {options.encoder} {epochs} epochs {torch.get_num_threads()} threads"
    facts = {f"{recipe}: head": (run.seconds, "s") for recipe, run in runs.items()}
    facts |= {f"{recipe}: steps": (float(run.steps), "") for recipe, run in runs.items()}
    facts["share"] = second.seconds / first.seconds, f"{options.recipes[1]} of {options.recipes[0]}"
    for recipe, run in runs.items():
        facts |= {f"{recipe}: {fact}": (value, "%") for fact, value in run.told.items()}
    for metric, (value, unit) in facts.items():
        print(f"{metric:32} {value:10.2f} {unit}")
        if not options.no_record:
            record.row("head_time", size, metric, value, unit)


if __name__ == "__main__":
    main()
