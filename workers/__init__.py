"""Worker processes: they claim jobs from PostgreSQL, and the doorbell in Redis wakes them."""
