"""A zoo of small networks, one per way in which people write them."""
