"""Texts: corpora, files and data sets become shards, windows, and examples with answers.

In come names, files and a tokenizer; out go batches, in an order that a seed fixes and a saved
position continues. No model is known here.
"""
