"""What belongs to effects: treatments of a table, what an uplift model learns from, its knots."""
