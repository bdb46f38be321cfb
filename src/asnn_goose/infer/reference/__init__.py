"""The numpy oracle of the engine: the same arithmetic, written plainly."""
