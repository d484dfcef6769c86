"""How a foreign table becomes events or labelled snapshots; `features.recipe` is its public face."""
