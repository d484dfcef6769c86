"""Proposing a recipe for a table nobody has described: every guess is said with its evidence."""
