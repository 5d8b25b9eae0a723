"""What is true: tables, and the only code that reads and writes them. Who takes a session never commits."""
