"""Splits, scores and reports."""
