"""Ways to reach a collection: over REST, over gRPC, and embedded in this process."""
