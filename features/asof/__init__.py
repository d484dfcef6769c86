"""As-of joins of feature views in Polars: each label gets the latest row of its entity that is not after it."""
