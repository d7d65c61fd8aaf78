"""What is wanted and who owns it."""
