"""How text is taken out of the formats that packages hold it in: one file a format."""
