"""How a student's matrices start: balanced, fitted, calibrated.

In comes a student with Traces of what it is to follow, each with its own window; the student's
weights are changed in place. No gradient is taken here.
"""
