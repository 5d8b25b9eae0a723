"""Wake-up signals: the Redis doorbell for workers, the PostgreSQL change feed for clients."""
