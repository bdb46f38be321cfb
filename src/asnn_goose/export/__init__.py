"""Students in the forms in which they leave the house.

What comes in: a trained student and the number formats that are wanted. What goes out: one file or
folder, whole or not at all. What never happens here: training, measuring, and a file that the
engine would refuse: what it cannot run is refused by its setting's name.
"""
