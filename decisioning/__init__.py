"""From scores to an action with a known probability, and from its outcome back to a better policy."""
