"""A small multilingual collection and a small model to try trivec with."""
