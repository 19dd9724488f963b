"""Configuration: hyperparameters and search spaces."""
