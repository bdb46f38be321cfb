"""Texts, from packages or from the user's own files, cut into splits, tokenised and packed."""
