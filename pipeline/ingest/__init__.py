"""One ingestion attempt, step by step: read, embed, store."""
