"""Recipes: one YAML file a source, read by `features.recipe`; docs/recipes.md explains the format."""
