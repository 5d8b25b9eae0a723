"""The core of Sluice: ingestion, search and answers. `api` and `workers` only call it."""
