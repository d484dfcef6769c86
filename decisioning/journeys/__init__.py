"""Journeys: one YAML file, one decision point; `decisioning.point` reads them."""
