"""The loop, its optimisers, schedules and checkpoints, blind to the papers."""
