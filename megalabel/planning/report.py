"""A plan as lines of text: the components in bytes, the choice, and the times."""

from __future__ import annotations

from megalabel.kernels.all_labels.memory import chunk
from megalabel.planning.amounts import duration, shown
from megalabel.planning.components import Component
from megalabel.planning.plan import MARGIN, SAME_RESULT, Plan, as_arguments
from megalabel.planning.timing import ASSUMED, expected, floor

WHEN = {"always": "", "forward": "end of the forward pass", "backward": "end of the backward pass"}


def lines_of(plan: Plan, memory: int | None) -> list[str]:
    """The lines that `megalabel plan` prints for a training."""
    job = plan.job
    head = f"{job.recipe}: {job.data.n_labels:,} labels, encoder {job.values['encoder']}, {job.length} tokens, "
    head += f"batches of {job.batch:,}"
    lines = [head, "", *table(plan.components, plan.peak)]
    if memory is not None:
        lines.append(f"with a margin of {MARGIN:.0%} it fits into {shown(memory)}")
    return [*lines, "", *choice(plan), "", *times(plan)]


def table(components: list[Component], peak: float) -> list[str]:
    """A line for each component, and the peak."""
    shown_parts = [part for part in components if part.n_bytes >= 1]
    width = max((len(part.name) for part in shown_parts), default=0)
    width = max(width, len("peak"))
    lines = [
        f"{part.name:<{width}}  {part.n_bytes:>17,.0f}  {shown(part.n_bytes):>10}  {WHEN[part.when]}".rstrip()
        for part in shown_parts
    ]
    return [*lines, f"{'peak':<{width}}  {peak:>17,.0f}  {shown(peak):>10}"]


def choice(plan: Plan) -> list[str]:
    """What was chosen."""
    job = plan.job
    lines = [
        f"micro-batches: {job.parts} of {job.part} texts",
        f"gradient checkpointing: {'yes' if job.checkpointing else 'no'}",
    ]
    if job.head == "dense":
        labels = chunk(job.data.n_labels, job.dim, job.part, job.threads)
        lines.append(f"chunks: {-(-job.data.n_labels // labels):,} of {labels:,} labels")
    if job.head == "sparse":
        lines.append(f"fan-in: {job.values['fan_in']} of {job.dim}")
    if job.levels is not None:
        lines.append(f"levels: {', '.join(f'{n:,}' for n in job.levels.sizes)}")
    if "weights" in job.values:
        lines.append(f"head weights: {job.values['weights']}")
    if plan.chosen:
        lines.append(f"chosen by the plan: {as_arguments(plan.chosen)}")
        changing = plan.chosen.keys() - SAME_RESULT
        if changing:
            lines.append(f"of these, {', '.join(sorted(changing))} change what is trained; nothing less fits")
    return lines


def times(plan: Plan) -> list[str]:
    """The floor time of a step, and the expected time of an epoch where the machine was measured."""
    job, base = plan.job, plan.base
    lines = []
    if base.speed is None:
        least = floor(job)
        lines.append(
            f"floor of a step: {duration(least)} at {ASSUMED.flops / 1e9:.0f} GFLOP/s and "
            f"{ASSUMED.memory / 1e9:.0f} GB/s, which are assumed; --calibrate measures this machine"
        )
        lines.append("interpreter and libraries: a typical value; --calibrate measures it")
        return lines
    least, step = floor(job, base.speed), expected(job, base)
    assert step is not None
    lines.append(
        f"floor of a step: {duration(least)} at {base.speed.flops / 1e9:.0f} GFLOP/s and "
        f"{base.speed.memory / 1e9:.1f} GB/s, as measured; expected: {duration(step)}"
    )
    if job.rows:
        steps = -(-job.rows // job.batch)
        lines.append(f"an epoch of {job.rows:,} texts, {steps:,} steps: {duration(step * steps)}")
    else:
        lines.append(f"a million texts: {duration(step * 1e6 / job.batch)} (give --texts or the data)")
    return lines
