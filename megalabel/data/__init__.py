"""Data sets: reading, checking and converting them, and what training makes of them (tokens, batches)."""
