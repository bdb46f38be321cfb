"""A student as a GGUF file, for llama.cpp's architectures `arwkv7` and `rwkv7`.

What comes in: a trained student that these architectures can hold, with its tokenizer. What goes
out: one file with the finished matrices. What never happens here: a file that would compute
something else; what cannot be held is refused by its setting's name.
"""
