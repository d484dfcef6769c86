"""What belongs to amounts: buy-till-you-die models, knots and bounds of money and days."""
