"""Predicts with trained models and evaluates them."""
