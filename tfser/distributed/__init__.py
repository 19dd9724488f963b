"""Several processes, several hosts, Spark."""
