"""Wake-up signals: the Redis doorbell for workers, and the PostgreSQL change feed for clients."""
