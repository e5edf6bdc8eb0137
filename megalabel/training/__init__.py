"""The loop, its optimizers, schedules and checkpoints, blind to the papers."""
