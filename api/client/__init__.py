"""`python -m api.client`: the command line of those who use the service. It speaks HTTP and knows nothing else."""
