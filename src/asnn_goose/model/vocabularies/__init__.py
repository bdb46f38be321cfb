"""Two tokenizers over one text: bytes of tokens, aligned streams, teachers heard across.

What comes in: tokens of the student's tokenizer. What goes out: a teacher's Trace that says which
of its positions have read the same bytes as which of the student's. What never happens here:
losses, and a guess where bytes do not agree.
"""
