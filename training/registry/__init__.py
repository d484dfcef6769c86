"""From a fitted model to a registered version, its bundle and its promotion; the door to MLflow."""
