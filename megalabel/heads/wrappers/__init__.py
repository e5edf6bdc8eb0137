"""Heads around another head."""
