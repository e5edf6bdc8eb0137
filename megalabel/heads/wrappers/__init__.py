"""Heads that wrap another head."""
