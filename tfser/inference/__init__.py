"""Prediction, export, the web page."""
