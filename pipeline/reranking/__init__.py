"""Rerankers: models that read a question and a passage together, and tell how well one answers the other."""
