"""Emotion recognition in speech: train, measure honestly, pack into one file, run anywhere."""

__version__ = "0.1.0"
