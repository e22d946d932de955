"""What became of the canaries that were sent. Pure."""
