"""Commands and checks for operators: `doctor`, health checks and the local stack."""
