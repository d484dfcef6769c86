"""From raw scores to probabilities that can be believed, and what to do when the base rate moves."""
