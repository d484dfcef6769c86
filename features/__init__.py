"""What is known about a customer at an instant: events, feature views, the stores that hold them."""
