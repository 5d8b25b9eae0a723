"""Worker processes. They claim jobs from PostgreSQL. The doorbell in Redis wakes them."""
