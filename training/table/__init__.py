"""A labelled table to a training set, unasked: what each column is, what is the outcome, how the rows are split."""
