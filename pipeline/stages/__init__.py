"""What is computed: pure functions that never reach out. Callers choose where they run."""
