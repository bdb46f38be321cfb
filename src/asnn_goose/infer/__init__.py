"""Running a packed student without torch: engine, numpy oracle, sampler, text."""
