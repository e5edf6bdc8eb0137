"""The training loop with its optimizers, schedules and checkpoints, independent of any recipe."""
