"""How a student's matrices start: balanced, fitted, calibrated."""
