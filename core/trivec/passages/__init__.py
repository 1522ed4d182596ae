"""Long documents: passages of a text, and the best passages of a stored document."""
