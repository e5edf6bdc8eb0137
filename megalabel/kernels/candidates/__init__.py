"""Scores, shortlists, row updates and beam search over few labels per text."""
