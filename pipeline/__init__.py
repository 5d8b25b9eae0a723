"""The core of Sluice: what happens to documents and questions. `api` and `workers` are its doors."""
