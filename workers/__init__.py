"""The queue door: processes that claim jobs from PostgreSQL, woken by Redis."""
