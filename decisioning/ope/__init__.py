"""Off-policy evaluation: one file, one estimator of what another policy would have earned on logged decisions."""
