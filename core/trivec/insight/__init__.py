"""Why a document was found, how well all are found, and what they cost."""
