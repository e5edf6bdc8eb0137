"""Operations on sparse rows: products, keeping the largest, counting hits, merging top-k lists."""
