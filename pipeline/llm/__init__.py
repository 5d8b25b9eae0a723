"""The optional language model that writes answers."""
