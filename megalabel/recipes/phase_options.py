"""The schedule of CascadeXML, whose phases have lengths in epochs, or a cosine in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes.options import ADAM, NeuralOptions, Nonnegative, conflict

if TYPE_CHECKING:
    from megalabel.inputs.batches import Batches
    from megalabel.training.optim.schedule import Schedule


class PhaseOptions(NeuralOptions):
    """How the learning rates rise and fall, and what the schedule says about Adam's first beta."""

    panel = "Optimization"

    schedule: Annotated[Literal["three-phase", "cosine"], "three-phase: rise, constant, fall."] = "three-phase"
    warmup_epochs: Annotated[Nonnegative, "Length of the rise."] = 1.0
    final_epochs: Annotated[Nonnegative, "Length of the fall of three-phase."] = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        final = self.final_epochs if self.schedule == "three-phase" else 0.0
        if self.warmup_epochs + final > self.epochs:
            found = f"{self.warmup_epochs + final:g} warmup_epochs and final_epochs for epochs = {self.epochs}"
            raise conflict("warmup_epochs", found, "no longer than the training")
        if self.schedule == "three-phase" and self.encoder_optimizer == "adamw8bit":
            found = "encoder_optimizer = adamw8bit, which is compiled for one β₁, under a schedule that moves it"
            raise conflict("encoder_optimizer", found, "adamw, or the schedule cosine")
        for name in ("encoder_betas", "head_betas", "token_betas"):
            if self.schedule == "three-phase" and getattr(self, name)[0] != ADAM[0]:
                shown = ",".join(f"{beta:g}" for beta in getattr(self, name))
                found = f"{name} = {shown} under the schedule three-phase, which moves the first"
                raise conflict(name, found, f"{ADAM[0]:g} there, or the schedule cosine")

    def schedule_of(self, batches: Batches) -> Schedule:
        """The schedule of a run over these batches."""
        from megalabel.training.optim.schedule import ThreePhase, WarmupCosine

        if self.schedule == "three-phase":
            return ThreePhase(batches.steps, batches.per_epoch, self.warmup_epochs, self.final_epochs)
        return WarmupCosine(batches.steps, round(self.warmup_epochs * batches.per_epoch))
