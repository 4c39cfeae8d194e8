"""lmbench: language models of every generation, trained on the same text, in one honest table."""

__version__ = "0.1.0"
