"""Entry points for other engines, which run megalabel in their own processes."""
