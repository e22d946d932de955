"""What results make of a watch. Pure."""
