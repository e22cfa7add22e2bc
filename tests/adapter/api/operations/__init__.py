"""The operations, through a whole node."""
