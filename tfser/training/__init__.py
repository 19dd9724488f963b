"""Resumable training loops, mixed precision, pre-training."""
