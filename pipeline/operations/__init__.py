"""What operators run: `doctor`, health checks and the local stack."""
