"""Writes trained models as files that the runtime maps into memory."""
