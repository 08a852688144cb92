"""Training of both networks, from one CPU process to several GPUs, and their evaluation."""

from .loop import TrainingError, train

__all__ = ["TrainingError", "train"]
