"""The paths of the service: each file turns bodies into calls of a service and its answers into bodies."""
