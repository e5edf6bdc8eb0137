"""How a training job is run: the options of the command itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from megalabel.distributed.world import World


class RunSettings(NamedTuple):
    """How a job is run: the options of the command itself."""

    device: str | None = None
    threads: int | None = None
    checkpoint_seconds: float = 300.0
    quiet: bool = False
    overwrite: bool = False
    lr_scale: float | None = None
    memory: int | None = None  # bytes
    track: tuple[str, ...] = ()  # trackers by name

    def of_process(self, world: World) -> RunSettings:
        """The settings of one of several processes: by default each has its own GPU; rank 0 alone prints."""
        if world.size == 1:
            return self
        return self._replace(device=self.device or str(world.device), quiet=self.quiet or not world.is_main)

    def compared(self, recipe: str, options: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """What must be the same in all processes of a job: these settings, and recipe, options and data."""
        own = self._replace(device=None, threads=None, quiet=False, track=())._asdict()
        return own | {"recipe": recipe, "options": options, "data": data | {"path": None}}
