"""A student's shape, described once, without torch."""
