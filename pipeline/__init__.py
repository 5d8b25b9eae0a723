"""The core of Sluice: ingestion, search and answers. `api` and `workers` only translate to and from it."""
