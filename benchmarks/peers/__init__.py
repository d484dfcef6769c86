"""The others, set up as their own documentation advises: Feast and MLflow servers, and floors written by hand."""
