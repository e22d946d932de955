"""What broken watches have in common. Pure."""
