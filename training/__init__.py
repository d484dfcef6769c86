"""From knowledge to a registered model: problems, datasets, tuning, calibration, evaluation, gates."""
