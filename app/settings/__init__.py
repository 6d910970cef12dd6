"""What the user prefers, kept in a small file of the user's own."""
