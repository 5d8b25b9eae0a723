"""The embedding model: loading, batching, switching to another model."""
