"""From events or snapshots to a training set: cutoffs, labels, features as they were known, matrices."""
