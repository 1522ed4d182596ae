"""From text to vectors: a checkpoint, its packed forward pass, and what shares it."""
