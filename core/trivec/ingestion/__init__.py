"""From sources into stores, and from store to store, resumably."""
