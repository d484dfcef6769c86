"""Why a model answers as it does: SHAP values, families of inputs, in bulk."""
