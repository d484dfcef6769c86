"""Drift: how far today's customers are from those a model learnt from."""
