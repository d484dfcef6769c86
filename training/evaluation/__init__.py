"""Judging a model on the test split: `binary`, `regression`, `uplift`, one file a kind, on shared bootstraps."""
