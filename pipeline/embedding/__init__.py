"""The embedding model: loading, batching, and the switch to another model."""
