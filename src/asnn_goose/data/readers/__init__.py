"""How text is taken out of the formats that packages hold it in: one file a format.

In comes an unpacked package, out go documents with the group that splits must not tear. Nothing is
fetched, cut into tokens or thrown away for its content here.
"""
