"""Teachers made, tuned and set to write."""
