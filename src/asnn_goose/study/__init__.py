"""Comparisons of runs: grids of recipe changes, and the lab teacher that makes them cheap."""
