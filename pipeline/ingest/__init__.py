"""One ingestion attempt, step by step: read, chunk, embed, store. `executor.py` shows the steps in order."""
