"""What was chosen for people (an hour, a channel, a category), and whether chance chose it."""
