"""Teachers made rather than fetched.

In: texts, and for tuning and writing a transformer to begin with.
Out: a run that the ordinary loop carries out, or a file of texts that a teacher wrote.
Never here: a student, a loss that looks at a teacher, a loop of its own.
"""
