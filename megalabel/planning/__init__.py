"""Memory and time of a job before its first step; nothing here imports torch."""
