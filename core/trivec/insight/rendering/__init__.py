"""What people look at: explanations and evaluations as HTML and in the terminal."""
